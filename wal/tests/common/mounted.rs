//! Small file systems of our own, to fill, to break, to make read-only. Needs the right to mount.
#![allow(
    clippy::disallowed_methods,
    reason = "the file systems are made from outside"
)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A file system that goes away with the value.
pub(crate) struct Mounted {
    point: PathBuf,
    /// Dropped behind the unmounting.
    _scratch: tempfile::TempDir,
}

impl Mounted {
    /// A fresh ext4 of so many MiB, whose errors make it read-only. `None`, with the reason
    /// printed, where this process may not mount.
    pub(crate) fn ext4(mib: u64) -> Option<Self> {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let image = scratch.path().join("image");
        Self::ext4_on(scratch, &image, mib)
    }

    /// The same, with its image in the file `image`.
    pub(crate) fn ext4_on(scratch: tempfile::TempDir, image: &Path, mib: u64) -> Option<Self> {
        Self::ext4_with(scratch, image, mib, "has_journal")
    }

    /// The same, with a feature of `mkfs.ext4 -O`.
    pub(crate) fn ext4_with(
        scratch: tempfile::TempDir,
        image: &Path,
        mib: u64,
        feature: &str,
    ) -> Option<Self> {
        std::fs::File::create(image)
            .unwrap()
            .set_len(mib << 20)
            .unwrap();
        // No blocks for root alone, or nothing would ever be full for it.
        done(
            Command::new("mkfs.ext4")
                .args(["-q", "-F", "-m", "0", "-O", feature])
                .arg(image),
        )?;
        Self::mount(scratch, &["-o", "loop,errors=remount-ro"], image)
    }

    /// A tmpfs of so many MiB.
    pub(crate) fn tmpfs(mib: u64) -> Option<Self> {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let size = format!("size={mib}m");
        Self::mount(scratch, &["-t", "tmpfs", "-o", &size], Path::new("tmpfs"))
    }

    /// An overlay over an empty directory.
    pub(crate) fn overlay() -> Option<Self> {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut options = Vec::new();
        for (key, name) in [
            ("lowerdir", "lower"),
            ("upperdir", "upper"),
            ("workdir", "work"),
        ] {
            let dir = scratch.path().join(name);
            std::fs::create_dir(&dir).unwrap();
            options.push(format!("{key}={}", dir.display()));
        }
        let options = options.join(",");
        Self::mount(
            scratch,
            &["-t", "overlay", "-o", &options],
            Path::new("overlay"),
        )
    }

    /// The directory `from` under another name.
    pub(crate) fn bind(from: &Path) -> Option<Self> {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self::mount(scratch, &["--bind"], from)
    }

    fn mount(scratch: tempfile::TempDir, options: &[&str], what: &Path) -> Option<Self> {
        // Other users may look for it: what they may not do is decided inside.
        std::fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
        let point = scratch.path().join("mounted");
        std::fs::create_dir(&point).unwrap();
        done(Command::new("mount").args(options).arg(what).arg(&point))?;
        Some(Self {
            point,
            _scratch: scratch,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.point
    }

    /// The block device that is mounted, without `/dev/`.
    pub(crate) fn device(&self) -> String {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let point = self.point.to_str().unwrap();
        let line = mounts
            .lines()
            .find(|line| line.split(' ').nth(1) == Some(point))
            .unwrap();
        let (device, _) = line.split_once(' ').unwrap();
        device.trim_start_matches("/dev/").to_owned()
    }

    /// From now on its image is read past the page cache: what is cut off the image is a bad sector
    /// of the device. False, with the reason printed, where that cannot be.
    pub(crate) fn reads_its_image_directly(&self) -> bool {
        let device = format!("/dev/{}", self.device());
        done(Command::new("losetup").arg("--direct-io=on").arg(device)).is_some()
    }

    /// Where each page of a file of it lies in its image, in bytes.
    pub(crate) fn places(file: &Path) -> Vec<u64> {
        let output = Command::new("filefrag").arg("-v").arg(file).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let number = |text: &str| text.trim().trim_end_matches('.').parse::<u64>();
        // "File size of image is 8388608 (8192 blocks of 1024 bytes)"
        let (head, _) = text.split_once(" bytes)").unwrap();
        let block = number(head.rsplit(' ').next().unwrap()).unwrap();
        let mut places = Vec::new();
        for line in text.lines() {
            // " 0:  0..  6143:  10241..  16384:  6144:"
            let parts: Vec<&str> = line.split([':', '.']).filter(|p| !p.is_empty()).collect();
            let numbers: Vec<u64> = parts.iter().map_while(|p| number(p).ok()).collect();
            if let [_extent, _first, _last, place, _end, count, ..] = numbers[..] {
                places.extend((0..count).map(|n| (place + n) * block));
            }
        }
        let per_page = usize::try_from(4096 / block).unwrap();
        places.into_iter().step_by(per_page).collect()
    }

    /// Mounts it again with other options.
    pub(crate) fn remount(&self, options: &str) {
        let output = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(&self.point)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Takes it away and brings it back, as a restart of the machine would.
    pub(crate) fn mount_again(&self, image: &Path) {
        unmount(&self.point);
        done(
            Command::new("mount")
                .args(["-o", "loop"])
                .arg(image)
                .arg(&self.point),
        )
        .unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.point);
    }
}

fn unmount(point: &Path) {
    let unmounted = Command::new("umount")
        .arg(point)
        .stderr(Stdio::null())
        .status();
    if !unmounted.is_ok_and(|status| status.success()) {
        // A process still holds a file of it: it goes away with the last one.
        let _ = Command::new("umount").arg("-l").arg(point).status();
    }
}

/// Runs a command; says why there is nothing to test if it cannot.
fn done(command: &mut Command) -> Option<()> {
    let output: std::io::Result<Output> = command.stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Some(()),
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            eprintln!("skipped: {command:?}: {}", why.trim());
            None
        }
        Err(error) => {
            eprintln!("skipped: {command:?}: {error}");
            None
        }
    }
}
