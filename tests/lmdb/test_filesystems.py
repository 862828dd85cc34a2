"""Network filesystems are refused, by the type that the system gives; local ones pass."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import jobq
from jobq import ConfigError
from jobq.repos.lmdb import filesystems
from jobq.repos.lmdb.filesystems import filesystem_of, is_network, type_of_mount
from tests.lmdb import namespaces
from tests.lmdb.namespaces import MOUNT, open_in

MOUNTINFO = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
41 27 0:44 / /mnt/my\040share rw,relatime shared:21 master:3 - nfs4 server:/my\040export rw,vers=4.2,addr=10.0.0.1
42 27 0:45 / /mnt/a-b\134c rw shared:22 - cifs //server/share\040- rw
43 27 0:46 / /mnt/dash rw - fuse.sshfs me@host:- rw,user_id=0
44 27 0:47 /sub /mnt/over rw unbindable propagate_from:7 - overlay - rw,lowerdir=/a,upperdir=/b
45 27 0:48 / /mnt/torn rw,relatime
46 27 0:49 / - rw shared:4 - tmpfs none rw
"""


@pytest.mark.parametrize(
    ("mount_id", "kind"),
    [
        ("22", "proc"),
        ("27", "ext4"),
        ("41", "nfs4"),
        ("42", "cifs"),
        ("43", "fuse.sshfs"),
        ("44", "overlay"),
        ("45", None),
        ("46", "tmpfs"),
        ("4", None),
        (None, None),
    ],
)
def test_the_type_of_a_mount_is_read_from_the_table_of_mounts(mount_id: str | None, kind: str | None) -> None:
    assert type_of_mount(mount_id, MOUNTINFO) == kind


@pytest.mark.parametrize(
    "kind",
    "nfs nfs4 cifs smb3 smbfs 9p ceph afs lustre beegfs gfs2 ocfs2 glusterfs gpfs virtiofs vboxsf fuse.sshfs "
    "fuse.glusterfs fuse.s3fs fuse.rclone fuse.gcsfuse fuse.JuiceFS fuse.gvfsd-fuse fuse.ceph-fuse NFS".split(),
)
def test_network_filesystems(kind: str) -> None:
    assert is_network(kind)


@pytest.mark.parametrize(
    "kind",
    "ext4 xfs btrfs zfs f2fs bcachefs tmpfs ramfs overlay fuseblk fuse fuse.bindfs fuse.encfs fuse.gocryptfs "
    "fuse.fuse-overlayfs fuse.mergerfs fuse.zfs apfs ufs ext4.nfs".split(),
)
def test_local_filesystems(kind: str) -> None:
    assert not is_network(kind)


def table_of(tmp_path: Path, kind: str) -> Path:
    """The system's own table, with another type for the mount that holds the folder."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    true_kind = filesystem_of(tmp_path)
    table = tmp_path / "mountinfo"
    table.write_text("\n".join(line.replace(f" - {true_kind} ", f" - {kind} ") for line in lines))
    return table


@pytest.mark.parametrize("folder", ["", "jobs", "deep/er/jobs"])
def test_a_network_filesystem_is_refused_before_anything_is_made(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystems, "MOUNTS", table_of(tmp_path, "nfs4"))
    path = tmp_path / folder
    with pytest.raises(ConfigError, match=rf"^{path} is on a filesystem .* \(nfs4\), .*: give a path on a local disk$"):
        jobq.open(f"lmdb://{path}")
    assert os.listdir(tmp_path) == ["mountinfo"]


def test_a_queue_that_turns_out_to_be_on_a_network_filesystem_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobq.open(f"lmdb://{tmp_path}/jobs").close()
    monkeypatch.setattr(filesystems, "MOUNTS", table_of(tmp_path, "cifs"))
    with pytest.raises(ConfigError, match=r"\(cifs\)"):
        jobq.open(f"lmdb://{tmp_path}/jobs")


@pytest.mark.parametrize("table", [None, "", "nonsense\n\n27\n", "\0\xff - - -"])
def test_where_the_system_does_not_say_nothing_is_refused(
    tmp_path: Path, table: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    if table is not None:
        mounts.write_text(table)
    monkeypatch.setattr(filesystems, "MOUNTS", mounts)
    assert filesystem_of(tmp_path) is None
    with jobq.open(f"lmdb://{tmp_path}/jobs") as svc:
        assert svc.enqueue("mail") == 1


TMPFS = "mount -t tmpfs none {0}"
RAMFS = "mount -t ramfs none {0}"
OVERLAY = (
    "mount -t tmpfs none {0} && mkdir {0}/low {0}/up {0}/work"
    " && mount -t overlay -o lowerdir={0}/low,upperdir={0}/up,workdir={0}/work none {0}"
)
TYPE = """
import sys, pathlib
from jobq.repos.lmdb.filesystems import filesystem_of
print(filesystem_of(pathlib.Path(sys.argv[1])))
"""


@pytest.mark.parametrize(("mount", "kind"), [(TMPFS, "tmpfs"), (RAMFS, "ramfs"), (OVERLAY, "overlay")])
def test_queues_work_on_local_filesystems(tmp_path: Path, mount: str, kind: str) -> None:
    shell = mount.format(tmp_path)
    assert namespaces.run(MOUNT, TYPE, tmp_path, shell=shell) == f"{kind}\n"
    assert open_in(MOUNT, f"lmdb://{tmp_path}/jobs", shell=shell) == "open 1 [1]\n"


def test_a_mount_that_hides_another_one_is_the_one_that_counts(tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    mounts = (RAMFS.format(tmp_path), f"mkdir {deep}", RAMFS.format(deep), TMPFS.format(tmp_path), f"mkdir {deep}")
    assert namespaces.run(MOUNT, TYPE, deep, shell=" && ".join(mounts)) == "tmpfs\n"


has_fuse = pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="there is no /dev/fuse to use")
FUSE = "import runpy, sys; sys.argv[0] = 'fuse'; runpy.run_module('tests.lmdb.fuse', run_name='__main__')"


@has_fuse
def test_a_mounted_network_filesystem_is_refused(tmp_path: Path) -> None:
    said = namespaces.run(MOUNT, FUSE, "fuse.sshfs", tmp_path).splitlines()
    assert said[0] == "fuse.sshfs"
    assert said[1].startswith(
        f"ConfigError {tmp_path}/jobs is on a filesystem that other machines may share (fuse.sshfs)"
    )


@has_fuse
def test_another_filesystem_in_user_space_is_not_refused_for_its_type(tmp_path: Path) -> None:
    said = namespaces.run(MOUNT, FUSE, "fuse.bindfs", tmp_path).splitlines()
    assert said[0] == "fuse.bindfs"
    assert said[1].startswith(f"StorageError {tmp_path}/jobs cannot be a queue's directory (Function not implemented)")
