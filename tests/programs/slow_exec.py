"""A file system that does not answer: an exec of the file argv[1] waits for argv[2] seconds (fanotify(7), needs root)."""

import ctypes
import os
import sys
import time

CLASS_CONTENT, CLOEXEC, MARK_ADD, OPEN_EXEC_PERM, AT_FDCWD = 4, 1, 1, 0x40000, -100

libc = ctypes.CDLL(None, use_errno=True)
group = libc.fanotify_init(CLASS_CONTENT | CLOEXEC, os.O_RDONLY)
if group < 0 or libc.fanotify_mark(
    group, MARK_ADD, ctypes.c_uint64(OPEN_EXEC_PERM), AT_FDCWD, os.fsencode(sys.argv[1])
):
    sys.exit(os.strerror(ctypes.get_errno()))
print("waiting", flush=True)
time.sleep(float(sys.argv[2]))
