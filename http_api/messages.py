"""What people read of an error, in English and Korean (spec §8)."""

from __future__ import annotations

_ENGLISH: dict[str, str] = {
    "INVALID_REQUEST": "The request cannot be understood.",
    "INVALID_NAME": "Nothing can have this name.",
    "FILE_IN_TRASH": "It is in the trash.",
    "FILE_ALREADY_TRASHED": "It is in the trash already.",
    "UPLOAD_SESSION_EXPIRED": "The upload was not ended in time.",
    "UPLOAD_INCOMPLETE": "The body ended early, or is not what was announced.",
    "PARTS_INCOMPLETE": "Parts of the upload are missing, or not as announced.",
    "UNAUTHENTICATED": "Name and password, or a token, please.",
    "FORBIDDEN": "Your account may not do this.",
    "IP_DENIED": "Nobody may come from your network address.",
    "NOT_FOUND": "It does not exist.",
    "FILE_NOT_FOUND": "The file does not exist.",
    "FILE_DELETED": "The file was deleted for good.",
    "FOLDER_NOT_FOUND": "The folder does not exist.",
    "PARENT_FOLDER_NOT_FOUND": "The parent folder does not exist.",
    "TARGET_FOLDER_NOT_FOUND": "The target folder does not exist.",
    "UPLOAD_SESSION_NOT_FOUND": "The upload does not exist.",
    "SYNC_EVENT_NOT_FOUND": "The sync event does not exist.",
    "METHOD_NOT_ALLOWED": "This method is not supported here.",
    "CONFLICT": "It does not fit what is there.",
    "FILE_SYNCING": "The file is on its way to the NAS. Try again in a moment.",
    "FOLDER_SYNCING": "The folder is on its way to the NAS. Try again in a moment.",
    "CHILD_FILES_SYNCING": "Files in the folder are on their way to the NAS. Try again in a moment.",
    "FILE_IN_USE": "The file is being downloaded. Try again in a moment.",
    "DUPLICATE_FILE_EXISTS": "There is a file of this name already.",
    "DUPLICATE_FOLDER_EXISTS": "There is a folder of this name already.",
    "IP_LOCKOUT": "After this change you could not come from your own address any more.",
    "CIRCULAR_MOVE": "A folder cannot go into itself, or below itself.",
    "CROSSES_VAULT": "Into a vault, or out of it, files are moved. Folders are copied, but no vault itself.",
    "UPLOAD_SESSION_COMPLETED": "The upload has become a file already.",
    "PRECONDITION_FAILED": "A condition of the request does not hold.",
    "FILE_TOO_LARGE": "No file can be so large.",
    "CHECKSUM_MISMATCH": "The bytes are not those that their checksum tells of. Send them again.",
    "FILE_TOO_LARGE_USE_MULTIPART": "The file is too large for one request: upload it in parts.",
    "UNSUPPORTED_MEDIA_TYPE": "The body has a type that is not supported here.",
    "NO_PREVIEW": "A file of this type has no preview. It can be downloaded.",
    "RANGE_NOT_SATISFIABLE": "The file has no such bytes.",
    "LOCKED": "Somebody has locked it.",
    "TOO_MANY_ATTEMPTS": "Too many wrong passwords. Try again later.",
    "INTERNAL_ERROR": "Something went wrong here. It was logged under the trace id.",
    "FOLDER_SYNC_FAILED": "The folder could not be carried to the NAS.",
    "FILE_NOT_FOUND_IN_STORAGE": "The content of the file was found neither in the cache nor on the NAS.",
    "CACHE_UNAVAILABLE": "The storage is away. Try again in a moment.",
    "NAS_UNAVAILABLE": "The NAS is away. Try again in a moment.",
    "VAULT_KEY_MISSING": "The vault is closed: an administrator must give the server its key. Nothing is lost.",
    "INSUFFICIENT_STORAGE": "There is no room left.",
}

_KOREAN: dict[str, str] = {
    "INVALID_REQUEST": "요청을 이해할 수 없습니다.",
    "INVALID_NAME": "사용할 수 없는 이름입니다.",
    "FILE_IN_TRASH": "휴지통에 있는 항목입니다.",
    "FILE_ALREADY_TRASHED": "이미 휴지통에 있습니다.",
    "UPLOAD_SESSION_EXPIRED": "업로드 세션이 만료되었습니다.",
    "UPLOAD_INCOMPLETE": "본문이 중간에 끊겼거나 알린 내용과 다릅니다.",
    "PARTS_INCOMPLETE": "누락되었거나 알린 내용과 다른 파트가 있습니다.",
    "UNAUTHENTICATED": "로그인 또는 토큰이 필요합니다.",
    "FORBIDDEN": "이 작업을 할 권한이 없습니다.",
    "IP_DENIED": "접속이 허용되지 않은 네트워크 주소입니다.",
    "NOT_FOUND": "존재하지 않습니다.",
    "FILE_NOT_FOUND": "파일이 존재하지 않습니다.",
    "FILE_DELETED": "영구 삭제된 파일입니다.",
    "FOLDER_NOT_FOUND": "폴더가 존재하지 않습니다.",
    "PARENT_FOLDER_NOT_FOUND": "상위 폴더가 존재하지 않습니다.",
    "TARGET_FOLDER_NOT_FOUND": "대상 폴더가 존재하지 않습니다.",
    "UPLOAD_SESSION_NOT_FOUND": "업로드 세션이 존재하지 않습니다.",
    "SYNC_EVENT_NOT_FOUND": "동기화 이벤트가 존재하지 않습니다.",
    "METHOD_NOT_ALLOWED": "지원하지 않는 메서드입니다.",
    "CONFLICT": "현재 상태와 맞지 않는 요청입니다.",
    "FILE_SYNCING": "파일을 NAS에 동기화하는 중입니다. 잠시 후 다시 시도해 주세요.",
    "FOLDER_SYNCING": "폴더를 NAS에 동기화하는 중입니다. 잠시 후 다시 시도해 주세요.",
    "CHILD_FILES_SYNCING": "폴더 안의 파일을 NAS에 동기화하는 중입니다. 잠시 후 다시 시도해 주세요.",
    "FILE_IN_USE": "다운로드 중인 파일입니다. 잠시 후 다시 시도해 주세요.",
    "DUPLICATE_FILE_EXISTS": "같은 이름의 파일이 이미 있습니다.",
    "DUPLICATE_FOLDER_EXISTS": "같은 이름의 폴더가 이미 있습니다.",
    "IP_LOCKOUT": "이 변경을 적용하면 현재 주소에서 접속할 수 없게 됩니다.",
    "CIRCULAR_MOVE": "폴더를 자기 자신이나 그 하위로 옮길 수 없습니다.",
    "CROSSES_VAULT": "볼트 안팎으로는 파일만 옮길 수 있습니다. 폴더는 복사해 주세요. 볼트 자체는 복사할 수 없습니다.",
    "UPLOAD_SESSION_COMPLETED": "이미 완료된 업로드입니다.",
    "PRECONDITION_FAILED": "요청의 조건이 맞지 않습니다.",
    "FILE_TOO_LARGE": "파일이 너무 큽니다.",
    "CHECKSUM_MISMATCH": "체크섬이 맞지 않습니다. 다시 전송해 주세요.",
    "FILE_TOO_LARGE_USE_MULTIPART": "한 번에 올리기에는 파일이 너무 큽니다. 나누어 업로드해 주세요.",
    "UNSUPPORTED_MEDIA_TYPE": "지원하지 않는 형식의 본문입니다.",
    "NO_PREVIEW": "미리보기를 지원하지 않는 형식의 파일입니다. 다운로드해 주세요.",
    "RANGE_NOT_SATISFIABLE": "파일에 없는 범위입니다.",
    "LOCKED": "다른 사용자가 잠근 항목입니다.",
    "TOO_MANY_ATTEMPTS": "비밀번호가 여러 번 틀렸습니다. 나중에 다시 시도해 주세요.",
    "INTERNAL_ERROR": "오류가 발생했습니다. 추적 번호로 로그에 기록되었습니다.",
    "FOLDER_SYNC_FAILED": "폴더를 NAS에 동기화하지 못했습니다.",
    "FILE_NOT_FOUND_IN_STORAGE": "파일 내용을 캐시와 NAS 어디에서도 찾을 수 없습니다.",
    "CACHE_UNAVAILABLE": "저장소에 연결할 수 없습니다. 잠시 후 다시 시도해 주세요.",
    "NAS_UNAVAILABLE": "NAS에 연결할 수 없습니다. 잠시 후 다시 시도해 주세요.",
    "VAULT_KEY_MISSING": "볼트가 잠겨 있습니다. 관리자가 서버에 키를 제공해야 합니다. 데이터는 안전합니다.",
    "INSUFFICIENT_STORAGE": "저장 공간이 부족합니다.",
}

MESSAGES = {"en": _ENGLISH, "ko": _KOREAN}
_CORE_SAYS = frozenset(
    (
        *("INVALID_REQUEST", "INVALID_NAME", "CONFLICT", "CROSSES_VAULT", "FORBIDDEN", "UPLOAD_INCOMPLETE"),
        *("IP_DENIED", "IP_LOCKOUT"),
    )
)


def language_of(accept_language: str | None) -> str:
    """ "en" or "ko": the one that the client likes better (RFC 9110 §12.5.4); English without a wish."""
    wishes: dict[str, float] = {}
    for part in (accept_language or "").lower().split(",")[:20]:
        tag, _, parameter = part.strip().partition(";")
        try:
            quality = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
        except ValueError:
            quality = 0.0
        name = tag.strip().split("-")[0]
        if name in MESSAGES:
            wishes[name] = max(quality, wishes.get(name, 0.0))
    best = max(wishes, key=lambda name: wishes[name], default="en")
    return best if wishes.get(best) else "en"


def message(code: str, language: str, said: str = "") -> str:
    """`said` is what the core says of this very case, in English: then it tells more than the table does."""
    if said and code in _CORE_SAYS:
        return said if language == "en" else f"{MESSAGES[language][code]} ({said})"
    return MESSAGES[language][code]
