"""What holds on a drive holds in a vault: tests of the core, whose `drive` is one here."""

from __future__ import annotations

from tests.rooms.core import (
    test_copying,
    test_locking,
    test_moving,
    test_posix,
    test_properties,
    test_reading,
    test_trashing,
    test_versions,
    test_writing,
)

_MODULES = (
    *(test_copying, test_locking, test_moving, test_posix, test_properties),
    *(test_reading, test_trashing, test_versions, test_writing),
)
_ABOUT_WHOLE_PATHS = {
    "test_a_place_whose_folder_was_moved_meanwhile_is_not_locked",
    "test_a_root_that_the_caller_may_not_read_shows_what_he_may",
    "test_a_write_is_an_event_and_history",
    "test_an_active_folder_of_the_old_name_is_used",
    "test_an_admin_sees_and_breaks_locks",
    "test_by_name_and_by_inode",
    "test_depth",
    "test_every_change_needs_the_token_of_its_owner",
    "test_someone_elses_lock_stops_a_move",
    "test_the_granted_timeout",
    "test_what_was_trashed_alone_outlives_its_folder",
}
_ABOUT_THE_NAS = {"test_a_copy_takes_a_new_stamp", "test_attributes", "test_times_are_set_and_carried_to_the_nas"}

_ABOUT_PARTS = {"test_parts_and_ranges_across_them"}  # sealed ones are longer
_LEFT_OUT = _ABOUT_WHOLE_PATHS | _ABOUT_THE_NAS | _ABOUT_PARTS

for _module in _MODULES:
    for _name, _test in vars(_module).items():
        if _name.startswith("test_") and callable(_test) and _name not in _LEFT_OUT:
            globals()[f"{_name}__{_module.__name__.rpartition('test_')[2]}"] = _test
