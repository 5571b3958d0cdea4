"""Dialects: what the transcoder touches of each API, as typed dictionaries. Shapes only, no behaviour."""
