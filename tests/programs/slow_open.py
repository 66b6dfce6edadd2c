"""A file system that does not answer: an open in the directory argv[1] waits until stdin is closed (fanotify(7), needs root)."""

import ctypes
import os
import sys

CLASS_CONTENT, CLOEXEC, MARK_ADD, OPEN_PERM, EVENT_ON_CHILD, AT_FDCWD = 4, 1, 1, 0x10000, 0x08000000, -100

libc = ctypes.CDLL(None, use_errno=True)
group = libc.fanotify_init(CLASS_CONTENT | CLOEXEC, os.O_RDONLY)
if group < 0 or libc.fanotify_mark(
    group, MARK_ADD, ctypes.c_uint64(OPEN_PERM | EVENT_ON_CHILD), AT_FDCWD, os.fsencode(sys.argv[1])
):
    sys.exit(os.strerror(ctypes.get_errno()))
print("waiting", flush=True)
sys.stdin.read()
