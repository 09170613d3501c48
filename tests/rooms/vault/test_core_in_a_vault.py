"""What holds on a drive holds in a vault: tests of the core, whose `drive` is one here."""

from tests.rooms.core.test_by_id import *
from tests.rooms.core.test_copying import *
from tests.rooms.core.test_locking import *
from tests.rooms.core.test_moving import *
from tests.rooms.core.test_posix import *
from tests.rooms.core.test_properties import *
from tests.rooms.core.test_reading import *
from tests.rooms.core.test_trashing import *
from tests.rooms.core.test_versions import *
from tests.rooms.core.test_writing import *
