"""On what kind of filesystem a path is, and whether other machines may have that open as well.

LMDB maps its file into memory and locks it: both work only among the processes of one kernel. Linux says the type of
each mount; where the system does not say it, as macOS, nothing is refused.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from jobq.errors import ConfigError

MOUNTS = Path("/proc/self/mountinfo")
"""The table of mounts."""

NETWORK = frozenset(
    "nfs nfs4 cifs smb3 smbfs ncpfs afs coda ceph lustre gfs gfs2 ocfs2 gpfs beegfs fhgfs panfs pvfs2 orangefs acfs "
    "glusterfs quobyte davfs 9p virtiofs fakeowner vboxsf vmhgfs prl_fs".split()
)
"""Types of mounts whose files another kernel may change at the same time: network, cluster and host filesystems."""

NETWORK_FUSE = frozenset(
    "sshfs glusterfs ceph ceph-fuse s3fs goofys gcsfuse blobfuse blobfuse2 mount-s3 mountpoint-s3 juicefs rclone davfs "
    "davfs2 curlftpfs smbnetfs gvfsd-fuse seaweedfs mfs mfsmount moosefs lizardfs saunafs beegfs quobyte alluxio "
    "fuse_dfs cvmfs cvmfs2 onedriver google-drive-ocamlfuse dropbox grpcfuse osxfs vmhgfs-fuse vmware-vmblock".split()
)
"""What stands behind `fuse.` in the type of such a mount. Other filesystems in user space are taken as local."""


def check_local(path: Path) -> None:
    """Refuse a path on a network filesystem with a ConfigError; if it does not exist, by where it would be made."""
    existing = next((place for place in (path, *path.parents) if os.path.exists(place)), None)
    kind = None if existing is None else filesystem_of(existing)
    if kind is not None and is_network(kind):
        raise ConfigError(
            f"{path} is on a filesystem that other machines may share ({kind}), where LMDB would damage the queue: "
            "give a path on a local disk"
        )


def is_network(kind: str) -> bool:
    """Whether this type of filesystem, as in mountinfo, may be in use by other machines."""
    family, _, program = kind.lower().partition(".")
    return family in NETWORK or (family == "fuse" and program in NETWORK_FUSE)


def filesystem_of(path: Path) -> str | None:
    """The type of the filesystem that a directory is on, such as "ext4"; None where the system does not say."""
    with suppress(OSError):
        return type_of_mount(_mount_id(path), MOUNTS.read_text(errors="replace"))
    return None


def type_of_mount(mount_id: str | None, mountinfo: str) -> str | None:
    """The type of a mount by its id; None if the table has it not.

    By its id and not by the longest path, as a mount may hide another one, and paths may be given through links.
    """
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if fields[0] == mount_id and "-" in fields[6:-1]:
            return fields[fields.index("-", 6) + 1]  # any number of optional fields stands before the dash
    return None


def _mount_id(path: Path) -> str | None:
    # The dot makes the system mount what is to be mounted there on demand.
    fd = os.open(f"{path}/.", getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC)
    try:
        lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    finally:
        os.close(fd)
    return next((line.split()[1] for line in lines if line.startswith("mnt_id:")), None)
