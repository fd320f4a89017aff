"""What `runner watch` decides by: when a file has settled, when a schedule is due, when a run that waits may be tried again.

`settle`, `cron` and `waits` are pure: the time is an argument. `names`, `mounts` say which files and file systems are special.
`scan` and `memory` read and write the disk, `hints` listens to the operating system. Nothing here starts a run: that is
`runner.api.watching`.
"""
