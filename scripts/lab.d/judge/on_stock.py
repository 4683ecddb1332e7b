# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel's own type1 fails: each test, the weakness, and the words of the failure.

A test that fails there for another reason does not prove the weakness. So the first failure that
it reports must contain these words. TESTS is about the type1 of 6.12, LATER about what is different
in later ones.
"""

import re
from collections import namedtuple

Failure = namedtuple("Failure", "why says")

UNWOUND = "a pin call that fails leaves records of the pages that it unwinds"
NO_PART = 'seen "EINVAL"'
NO_LAST_PAGE = "a mapping that ends at 2^64 is never found again"
CHARGED = "an attach that fails charges the owner of pinned pages with reserved frames"
AT_ONCE = "a pin of a page that user space has yet to provide fails at once"
# Everything that needs the one lock waits.
NOT_STALLED, STUCK = "begin_stalled(s, call)", 'want "done", seen "START"'

TESTS = {
    "R1_start_allocates_nothing_for_1_tib":
        Failure("START allocates a bit for each mapped page", "start_growth_kb(self, &ms) < 1024"),
    "R1_start_while_a_pin_stalls": Failure(AT_ONCE, NOT_STALLED),
    "R2_descriptors_are_reported":
        Failure("W11", 'want "0,36-37", seen "0,32-33,36-37"'),
    "R3_adjacent_ranges_share_no_page": Failure("W10", NO_PART),
    "R3_failed_pin_leaves_no_record":
        Failure(UNWOUND, 'want "none", seen "32-39,1022-1023"'),
    "R3_fault_in_a_later_mapping_loses_nothing":
        Failure("W2", 'want "11,40024", seen "40024"'),
    "R3_fault_then_sub_range": Failure("W10", NO_PART),
    "R3_faulting_get_shifts_nothing": Failure("W1", 'want "7,1027-1028,1104-1126"'),
    "R3_nothing_is_told_again": Failure("W10", NO_PART),
    "R3_D8_get_clears_only_the_range": Failure("W10", NO_PART),
    "R5_failing_batch_keeps_the_records":
        Failure(UNWOUND, 'want "10-13,16", seen "8-17"'),
    "R7_killed_during_a_pin": Failure(AT_ONCE, "read(ready[0], m.uuid, 37)"),
    "R8_bits_around_the_mapping_keep_their_value":
        Failure("W15", "of 90 pages from 1024, filled with 0xff: want 0"),
    "R8_D7_range_that_begins_within_a_mapping": Failure("W10", NO_PART),
    "R8_first_pages_of_the_space": Failure("W15", 'want "0-1,16-63", seen "0-1"'),
    "R8_last_page_of_the_space":
        Failure(NO_LAST_PAGE, 'want "EEXIST", seen "0"'),
    "R8_last_page_is_written_and_unmapped_with_a_bitmap":
        Failure(NO_LAST_PAGE, 'want "0", seen "EINVAL"'),
    "R8_mapping_at_the_end_of_the_space_is_not_cut":
        Failure(NO_LAST_PAGE, 'want "EINVAL", seen "0"'),
    "R8_unmap_all_has_the_last_page": Failure(NO_LAST_PAGE, 'want "0", seen "EINVAL"'),
    "R8_D6_many_small_mappings": Failure("W15", "bit 1: want 1"),
    "R8_sub_ranges_of_every_shift": Failure("W10", NO_PART),
    "R9_first_pin_for_reading": Failure("W5", 'want "0-1023", seen "3-4"'),
    "R9_first_pin_narrows_the_scope": Failure("W5", 'want "0-1023", seen "3-4"'),
    "R9_holes_are_left_alone": Failure("W15", "bitmap_bit(bitmap, i): not 0 == 1"),
    "R9_sub_range_after_a_detach": Failure("W10", NO_PART),
    "R9_sub_range_beside_a_nic": Failure("W10", NO_PART),
    "R10_write_and_pin_of_one_page": Failure("W11", 'want "none", seen "2"'),
    "R10_write_that_faults_half_way": Failure("W4", 'want "40", seen "none"'),
    "R10_write_to_a_read_only_mapping": Failure("W11", 'want "none", seen "1033"'),
    "R11_fault_in_a_later_mapping_changes_nothing":
        Failure("W6", "is_mapped(self, 0, 1024): not 1 == 0"),
    "R11_pins_are_given_back_and_reported":
        Failure("W11", 'want "100-299,600", seen "100-299,500,600"'),
    "R11_several_mappings_and_holes": Failure("W15", "bit 4: want 0"),
    "R11_stalled_pin_and_unmap_with_bitmap": Failure(AT_ONCE, NOT_STALLED),
    "R12_pinned_for_read_is_not_reported": Failure("W11", 'want "none", seen "1-3"'),
    "R12_read_pin_of_a_retained_page": Failure("W11", 'want "none", seen "6"'),
    "R12_workload_that_only_reads_is_not_reported": Failure("W11", 'want "none", seen "0-19"'),
    "R12_write_pin_is_forgotten_once_reported": Failure("W11", 'want "none", seen "6"'),
    "R13_pin_of_a_bar": Failure(UNWOUND, 'want "none", seen "1022-1023"'),
    "R13_pin_outside_of_the_mappings": Failure(UNWOUND, 'want "none", seen "1023"'),
    "R13_unmap_argument_read_only": Failure("W6", 'want "3-4", seen "none"'),
    "R14_records_of_a_kernel_thread_are_charged": Failure("W8", "npages / stride * 8) <= charged"),
    "R14_stalled_pin_that_fails": Failure(AT_ONCE, NOT_STALLED),
    "R14_W17_one_lock_for_a_batch": Failure("W17", "locks <= 8: not 1024 <= 8"),
    "R14_memory_of_the_store_is_charged": Failure("W8", "npages / stride * 8) <= charged"),
    "R15_unmap_while_a_pin_stalls": Failure(AT_ONCE, NOT_STALLED),
    "R15_unmap_while_a_pin_of_two_owners_stalls": Failure(AT_ONCE, NOT_STALLED),
    "R15_R16_unmap_while_a_copy_reads_a_slow_file":
        Failure("W19", "job_ends_but_on_stock(&self->others)"),
    "R16_stalled_batch": Failure(AT_ONCE, NOT_STALLED),
    "R16_stalled_pin_and_unmap_of_its_mapping": Failure(AT_ONCE, NOT_STALLED),
    "R16_stalled_pin_of_a_huge_page": Failure(AT_ONCE, NOT_STALLED),
    "R16_stalled_pin_of_protected_memory": Failure(AT_ONCE, NOT_STALLED),
    "R16_stalled_pin_of_two_owners": Failure(AT_ONCE, NOT_STALLED),
    "R16_stalled_pin_of_shared_memory": Failure(AT_ONCE, NOT_STALLED),
    "R16_stalled_pin_stalls_nobody": Failure(AT_ONCE, NOT_STALLED),
    "R16_stalled_pin_stalls_no_unmap": Failure(AT_ONCE, NOT_STALLED),
    "R16_stalled_pin_stalls_no_unmap_with_bitmap": Failure(AT_ONCE, NOT_STALLED),
    "R16_stalled_read_stalls_nobody": Failure("W19", STUCK),
    "R16_stalled_write_of_protected_memory": Failure("W19", STUCK),
    "R16_stalled_write_of_shared_memory": Failure("W19", STUCK),
    # Not even a thread can be created: its stack needs the mmap_lock that the pin holds.
    "R16_W19_pin_of_a_slow_file": Failure("W19", "slow_file_gave_up(&s->file)"),
    "R16_W19_stalled_write_stalls_nobody": Failure("W19", STUCK),
    "R16_W19_unpin_needs_no_lock_of_the_owner":
        Failure("W19", "job_ends_but_on_stock(&self->others)"),
    "R16_write_of_a_slow_file": Failure("W19", STUCK),
    "R16_stalled_report_stalls_no_map": Failure("W9", "done: not 1 == 0"),
    "R16_stalled_report_stalls_no_pin": Failure("W9", "done: not 1 == 0"),
    "R17_cost_follows_what_is_pinned_and_retained":
        Failure("W8", "before > 0 && after > 0: not 1 == 0"),
    "R17_kernel_thread_pins_as_the_owner_does":
        Failure("a kernel thread takes the mmap lock for each page", "reads <= 10"),
    "R17_mapping_of_16_tib": Failure("W8", 'want "0", seen "EINVAL"'),
}


# From which version on (of those that were tried), and what is different there: None is for what
# the kernel does right.
LATER = (
    ((7, 3), {
        "R8_last_page_of_the_space": Failure("W15", 'want "0-63", seen "0"'),
        "R8_last_page_is_written_and_unmapped_with_a_bitmap": None,
        "R8_mapping_at_the_end_of_the_space_is_not_cut": None,
        "R8_unmap_all_has_the_last_page": None,
        "R14_reserved_frames_and_a_failed_attach": Failure(CHARGED, "not 10 == 26"),
    }),
)


def expected_failure(name, release):
    """How a test must fail on the type1 of a kernel; None if it must pass.

    @release: the kernel's, as uname -r has it
    """
    version = tuple(map(int, re.match(r"(\d+)\.(\d+)", release).groups()))
    found = TESTS.get(name)
    for since, tests in LATER:
        if version >= since:
            found = tests.get(name, found)
    return found


def first_failure(said):
    """The first line of a test that reports a failed assertion; empty if there is none."""
    return next((line for line in said if ".c:" in line), "")


def judge(name, passed, said, release):
    """(why a test failed as expected, what is wrong), one of them None; both are None if no
    failure is expected of it.

    @said:    the lines of its output
    @release: of the kernel
    """
    expected = expected_failure(name, release)
    if not expected:
        return None, None
    if passed:
        return None, f"passes on stock in spite of {expected.why}"
    if expected.says not in first_failure(said):
        return None, f"fails on stock, but not by '{expected.says}' ({expected.why})"
    return expected.why, None
