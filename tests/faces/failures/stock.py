"""Defects of WsgiDAV 4.4 as it comes, which Kelp's own handlers replace."""

from __future__ import annotations

from tests.faces.failures.known import Known, rules

STOCK: dict[int, Known] = {
    1: Known("a PUT cut short is stored", rules("put", "r11_a_broken_body_changes_nothing")),
    2: Known("Destination is decoded before it is parsed", rules("moving_and_reading", "r16_destinations")),
    3: Known(
        "an untagged If is tested on the target of MOVE too",
        rules("locks", "r14_untagged_list_is_tested_on_the_source_only"),
    ),
    4: Known("the old name stays locked after a MOVE", rules("locks", "r15_locks_die_with_their_resource")),
    5: Known("a refused LOCK leaves an empty file", rules("locks", "r12_refused_lock_leaves_no_file")),
    6: Known(
        "getetag has no quotes in XML",
        rules("properties", "r7_etag_is_the_same_everywhere_and_changes_with_content_only"),
    ),
    7: Known(
        "If-Match on nothing, If-Modified-Since that is equal, two ranges",
        rules("moving_and_reading", "r17_conditions", "r17_ranges"),
    ),
    8: Known(
        "propname is empty, PROPFIND without Depth walks the tree, include is ignored",
        rules("properties", "r9_unknown_names_propname_include_and_quota", "r10_depths"),
    ),
    9: Known(
        "500 for malformed Basic and for a name of 256 bytes",
        rules("responses", "r2_anything_but_good_basic_is_401_with_basic", "r2_credentials_in_both_encodings")
        + rules("responses", "r5_r21_names_that_cannot_be"),
    ),
    10: Known(
        "times that clients set are lost",
        rules("properties", "r18_windows_times", "r18_modification_time", "r18_x_oc_mtime_and_checksums"),
    ),
    11: Known(
        "a Destination with a user, or https behind a proxy, is another server",
        (
            *rules("moving_and_reading", "r16_destinations"),
            "test_behind_nginx.py::test_names_and_destinations_pass_undecoded",
        ),
    ),
    12: Known(
        "MOVE and COPY always answer 204; DELETE takes locked members away",
        rules("moving_and_reading", "r16_destinations") + rules("locks", "r12_conflicts"),
    ),
    13: Known(
        "an open PUT refuses LOCK, and shows an empty file early",
        rules("put", "r11_the_old_version_stays_visible_until_the_body_is_whole")
        + rules("put", "r11_a_new_file_is_not_seen_before_its_body_is_whole"),
    ),
}
