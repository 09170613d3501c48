"""What users of other servers met with macOS, mounts, rclone and apps, by its number in the compatibility notes."""

from __future__ import annotations

from tests.faces.failures.known import Known, rules

MACOS: dict[int, Known] = {
    25: Known(
        "class 1 only: read-only",
        rules("responses", "r1_options_are_the_same_everywhere"),
        source="owncloud/core#17732, couling/WebDAV-Daemon#17",
    ),
    26: Known(
        "a chunked PUT hangs, or stores nothing",
        rules("put", "r11_chunks_of_any_size_extensions_and_trailers"),
        ("s04_finder",),
        "mar10/wsgidav#15, #17, sabre-io/dav#55, pydio/pydio-core#581",
    ),
    27: Known(
        "size -1 without Content-Length",
        rules("seen_elsewhere", "a_chunked_upload_shows_its_true_size"),
        ("s04_finder",),
        "OpenMarshal/npm-WebDAV-Server#108",
    ),
    28: Known(
        "LOCK of a fresh empty file is 500, the second PUT 423",
        rules("put", "windows_copies_many_files_in_parallel"),
        ("s04_finder",),
        "nextcloud/server#3628, owncloud/core#20502",
    ),
    29: Known(
        "reads wait for the lock",
        rules("locks", "r12_conflicts"),
        ("s04_finder", "s12_lock_conflicts"),
        "couling/WebDAV-Daemon#18",
    ),
    30: Known("a safe save stays locked", (), ("s05_macos_safe_save",), "opencloud-eu/opencloud#933"),
    31: Known(
        "D:location doubles the entries",
        rules("responses", "r4_xml_has_the_prefix_that_windows_needs"),
        source="OpenMarshal/npm-WebDAV-Server#24",
    ),
    32: Known(
        "a name in the other normal form is 404",
        rules("responses", "r_n1_one_file_for_both_normal_forms"),
        ("s18_names",),
        "tailscale/tailscale#20512, droppyjs/droppy#72",
    ),
    33: Known(
        "wrong attributes after an upload, quota 0",
        rules("properties", "r7_etag_is_the_same_everywhere_and_changes_with_content_only")
        + rules("properties", "r9_unknown_names_propname_include_and_quota"),
        ("s04_finder",),
        "rclone/rclone#6433, haiwen/seafile#2809",
    ),
}

MOUNTS: dict[int, Known] = {
    34: Known(
        "LOCK of a new name fails",
        rules("locks", "r12_timeouts"),
        ("s06_davfs2",),
        "sigoden/dufs#354, opencloud-eu/opencloud#2861",
    ),
    35: Known(
        "davfs2 gives up after its LOCK was granted",
        (
            *rules("seen_elsewhere", "a_lock_on_a_new_name_is_told_whole_and_its_file_has_an_etag"),
            "real_clients/test_davfs2.py::TestDavfs::test_files_and_folders",
        ),
        ("s06_davfs2",),
        "alisarctl/davfs2#40",
    ),
    36: Known(
        "a deleted file's lock stays",
        rules("locks", "r15_locks_die_with_their_resource"),
        ("s06_davfs2",),
        "golang/go#42839",
    ),
    37: Known("the etag in If is ignored", rules("locks", "r14_if_header"), source="golang/go#44493"),
    38: Known(
        "% decoded twice, + taken for a space, hrefs not encoded",
        rules("responses", "r5_hrefs_give_back_the_name_and_lead_to_it"),
        ("s18_names",),
        "owncloud/core#17771, sabre-io/dav#230, arut/nginx-dav-ext-module#14",
    ),
    39: Known(
        "no MOVE for new folders; COPY and MOVE of folders hang",
        (*rules("moving_and_reading", "r16_folders"), "real_clients/test_gvfs.py::TestGvfs::test_files_and_folders"),
        ("s17_copy_move",),
        "bewcloud/bewcloud#155, sigoden/dufs#104",
    ),
    40: Known(
        "two PUTs, the first empty",
        rules("seen_elsewhere", "an_empty_put_and_then_the_content"),
        ("s01_windows_copy_in",),
        "mar10/wsgidav#10",
    ),
    41: Known(
        "301 for a folder without its slash",
        (
            *rules("responses", "r6_final_slashes_do_not_matter"),
            "test_behind_nginx.py::test_a_folder_without_its_slash_is_not_sent_elsewhere",
        ),
        source="vaggeliskls/webdav-server#27",
    ),
    42: Known(
        "supportedlock where LOCK is 403; UNLOCK in a loop after an administrator's",
        rules("properties", "r9_unknown_names_propname_include_and_quota")
        + rules("seen_elsewhere", "after_an_administrator_broke_a_lock_its_client_can_go_on"),
        source="owncloud/core#34394, #34153",
    ),
    50: Known(
        "another process does not know the lock",
        (),
        ("s06_davfs2", "s12_lock_conflicts"),
        "haiwen/seafile#568",
    ),
}

APPS: dict[int, Known] = {
    43: Known(
        "PUT refused, then the client deletes the file",
        rules("seen_elsewhere", "the_delete_after_a_refused_put_is_refused_too"),
        ("s10_rclone",),
        "rclone/rclone#3263",
    ),
    44: Known(
        "Digest asked again within an upload",
        rules("responses", "r2_anything_but_good_basic_is_401_with_basic"),
        source="iterate-ch/cyberduck#17745",
    ),
    45: Known(
        "getlastmodified is protected, times are lost",
        rules("properties", "r18_modification_time"),
        ("s10_rclone",),
        "sabre-io/dav#1277, owncloud/core#33502",
    ),
    46: Known(
        "the answer to a failed MOVE crashes",
        (*rules("moving_and_reading", "r16_destinations"), "test_fuzz.py::test_whatever_is_sent"),
        source="haiwen/seafdav#15",
    ),
    47: Known(
        "a PUT retried while the first is open, then MOVE fails",
        rules("seen_elsewhere", "a_put_retried_while_the_first_is_open"),
        source="nextcloud/server#23552",
    ),
    48: Known(
        "PUT with Content-Range truncates",
        rules("put", "r11_put_statuses"),
        ("s09_cyberduck",),
        "webdav-handler's documentation",
    ),
    49: Known(
        "LOCK changes the ETag",
        rules("properties", "r7_etag_is_the_same_everywhere_and_changes_with_content_only"),
        source="nextcloud/desktop#10641",
    ),
}
