"""The end of a JSON object is seen where it is, however the text is cut."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from onwards_py.transcode.chat.json_nesting import JsonNesting

VALUES = st.recursive(
    st.none() | st.integers() | st.text(alphabet='a"\\{}[]é\n', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='a"\\}', max_size=4), inner, max_size=3)
    ),
)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), st.lists(st.integers(0, 300), max_size=10))
def test_an_object_is_closed_at_its_last_character_and_not_before(value: object, places: list[int]) -> None:
    text = json.dumps(value)
    bounds = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    nesting = JsonNesting()
    for start, end in itertools.pairwise(bounds):
        nesting.feed(text[start:end])
        assert nesting.closed == (end == len(text))
