"""What users of other servers met with Explorer and Office, by its number in the compatibility notes."""

from __future__ import annotations

from tests.faces.failures.known import Known, rules

WINDOWS: dict[int, Known] = {
    1: Known(
        "DAV is the default namespace: cannot mount",
        rules("responses", "r4_xml_has_the_prefix_that_windows_needs"),
        source="golang/go#11177",
    ),
    2: Known("PROPPATCH on a folder is 500", rules("properties", "r18_windows_times"), source="golang/go#43929"),
    3: Known(
        "PROPPATCH is 403, dates are lost",
        rules("properties", "r18_windows_times"),
        ("s01_windows_copy_in",),
        "mar10/wsgidav#112, 9001/copyparty#910, drakkan/sftpgo#1018",
    ),
    4: Known(
        "PROPPATCH on a locked file is refused with its token",
        rules("properties", "r18_windows_times"),
        source="cs3org/reva#4928, #4972, owncloud/ocis#10551",
    ),
    5: Known(
        "PROPPATCH answers a plain status",
        rules("properties", "r18_windows_times", "r18_all_or_nothing"),
        source="emersion/go-webdav#189",
    ),
    6: Known(
        "PROPPATCH names the properties wrongly in its answer",
        rules("seen_elsewhere", "an_answer_to_proppatch_names_the_properties_as_they_were_sent"),
        source="OpenMarshal/npm-WebDAV-Server#34",
    ),
    7: Known(
        "no LOCK, no PROPPATCH: no writing",
        rules("responses", "r1_options_are_the_same_everywhere"),
        source="arut/nginx-dav-ext-module#16",
    ),
    8: Known(
        "'file too large' after PUT, LOCK, PROPPATCH",
        rules("put", "windows_copies_many_files_in_parallel"),
        ("s01_windows_copy_in",),
        "drakkan/sftpgo#207",
    ),
    9: Known(
        "some of many files are 'locked'",
        rules("put", "windows_copies_many_files_in_parallel"),
        ("s01_windows_copy_in",),
        "drakkan/sftpgo#481",
    ),
    10: Known(
        "LOCK without Depth is refused",
        rules("locks", "r12_lock_an_existing_file"),
        ("s01_windows_copy_in",),
        "swisspol/GCDWebServer#319",
    ),
    11: Known(
        "a parent of the mount answers 401 or 405",
        rules("seen_elsewhere", "every_parent_of_a_mount_answers_every_user"),
        ("s01_windows_copy_in",),
        "danmunn/redmine_dmsf#1346, 9001/copyparty#695, nextcloud/server#2979",
    ),
    12: Known(
        "a request without password after a pause loses the rename",
        rules("seen_elsewhere", "a_request_without_a_password_in_between_loses_nothing"),
        source="haiwen/seafile#2970",
    ),
    13: Known(
        "MOVE with the source's token fails on the target",
        rules("locks", "r14_untagged_list_is_tested_on_the_source_only"),
        source="sabre-io/dav#78, golang/go#43556",
    ),
    14: Known(
        "a save of Office leaves 0 bytes and a lock",
        rules("seen_elsewhere", "a_save_that_is_cut_leaves_the_old_text_and_its_lock_can_go"),
        ("s02_word_on_a_drive", "s03_office_by_url"),
        "sabre-io/dav#223, #58",
    ),
    15: Known(
        "a rename over a file leaves the temporary one",
        rules("seen_elsewhere", "a_rename_over_a_file_leaves_nothing_at_the_old_name"),
        source="9001/copyparty#1301",
    ),
    16: Known(
        "a folder is not renamed for lack of a slash",
        rules("seen_elsewhere", "folders_are_renamed_with_and_without_slashes"),
        source="arut/nginx-dav-ext-module#59",
    ),
    17: Known(
        "getcontenttype of a folder breaks the listing",
        rules("seen_elsewhere", "what_only_files_have_is_missing_on_folders_without_harm"),
        source="golang/go#13126",
    ),
    18: Known(
        "a dot in the mount's path: Office loses its lock",
        rules("seen_elsewhere", "no_dot_in_the_path_of_the_drive"),
        source="owncloud/core#14157",
    ),
}

OFFICE: dict[int, Known] = {
    19: Known(
        "read-only without MS-Author-Via",
        rules("responses", "r1_options_are_the_same_everywhere"),
        source="FubarDevelopment/WebDavServer#18",
    ),
    20: Known(
        "LOCK with an empty body is 400",
        rules("locks", "r13_refresh_and_unlock"),
        ("s03_office_by_url",),
        "sabre-io/dav#537",
    ),
    21: Known(
        "a refresh makes a second lock",
        rules("seen_elsewhere", "a_refresh_makes_no_second_lock"),
        source="FubarDevelopment/WebDavServer#24",
    ),
    22: Known(
        "read-only because HEAD lacks something",
        rules("seen_elsewhere", "head_of_a_document_tells_all_that_office_looks_at"),
        source="sabre-io/dav#469, FubarDevelopment/WebDavServer#41",
    ),
    23: Known("versioning locks the file: 'is locked'", (), ("s02_word_on_a_drive",), "owncloud/core#25066"),
    24: Known(
        "the site's root knows no OPTIONS, no PROPFIND",
        rules("responses", "r1_options_are_the_same_everywhere", "front_is_a_folder_that_holds_the_drive"),
        source="danmunn/redmine_dmsf#484",
    ),
}
