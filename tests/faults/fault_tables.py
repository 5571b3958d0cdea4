"""All cases of the fault suite, letter by letter."""

from __future__ import annotations

import test_faults_a_connect
import test_faults_b_head
import test_faults_c_body
import test_faults_c_opening
import test_faults_d_phases
import test_faults_d_requests
import test_faults_e_clients
import test_faults_f_lifecycle
import test_faults_g_pools
import test_faults_g_resources

FILES = (
    test_faults_a_connect,
    test_faults_b_head,
    test_faults_c_body,
    test_faults_c_opening,
    test_faults_d_phases,
    test_faults_d_requests,
    test_faults_e_clients,
    test_faults_f_lifecycle,
    test_faults_g_pools,
    test_faults_g_resources,
)
CASES = [case for file in FILES for case in file.CASES]
