//! What the kernel says of the control groups that the process is in: cgroup v2 and the older v1.

use std::fs;
use std::path::{Path, PathBuf};

/// What is left free: a fifth of the limit, or this many bytes where that is more than what can come
/// between two looks.
const LARGEST_RESERVE: u64 = 256 * 1024 * 1024;

/// A limit as large as this is v1's word for none.
const NO_LIMIT: u64 = 1 << 60;

/// How near a limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Room,
    /// Nothing new is to begin.
    Short,
    /// What has stopped has to end.
    Full,
}

/// How many bytes there may be, and how many there are that the kernel would not take back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    limit: u64,
    used: u64,
}

impl Usage {
    pub(super) fn level(self) -> Level {
        match self.limit.saturating_sub(self.used) {
            left if left >= self.reserve() => Level::Room,
            left if left >= self.reserve() / 2 => Level::Short,
            _ => Level::Full,
        }
    }

    /// Bytes by which it is too much.
    pub(super) fn excess(self) -> u64 {
        self.used.saturating_sub(self.limit - self.reserve())
    }

    fn reserve(self) -> u64 {
        (self.limit / 5).min(LARGEST_RESERVE)
    }
}

/// The groups that a process is in, from what the kernel says of it (cgroups(7)): its own and all
/// above, for each may have a limit.
///
/// In a container the path may be one of the machine's that is not to be seen there; the topmost group
/// that can be seen is the container's then.
pub(super) fn groups(mounted: &Path, own: &str) -> Vec<Group> {
    let mut groups = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, files) = match controllers {
            "" => (mounted.to_owned(), &V2),
            v1 if v1.split(',').any(|name| name == "memory") => (mounted.join("memory"), &V1),
            _ => continue,
        };
        for part in Path::new(path).ancestors() {
            let dir = root.join(part.strip_prefix("/").unwrap_or(part));
            if dir.join(files.limit).exists() {
                groups.push(Group { dir, files });
            }
        }
    }
    groups
}

/// What the files of a group are called.
#[derive(Debug)]
struct Files {
    limit: &'static str,
    used: &'static str,
    /// In `memory.stat`, what the kernel takes back before it kills anyone.
    reclaimable: [&'static str; 2],
}

const V2: Files = Files {
    limit: "memory.max",
    used: "memory.current",
    reclaimable: ["active_file", "inactive_file"],
};

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: ["total_active_file", "total_inactive_file"],
};

/// A group that may have a limit.
#[derive(Debug)]
pub(super) struct Group {
    dir: PathBuf,
    files: &'static Files,
}

impl Group {
    /// Its limit in bytes as of now, if it has one.
    pub(super) fn limit(&self) -> Option<u64> {
        let limit = self.number(self.files.limit)?;
        (limit < NO_LIMIT).then_some(limit)
    }

    /// How much of its limit is used as of now; none where there is no limit.
    pub(super) fn usage(&self) -> Option<Usage> {
        let limit = self.limit()?;
        let used = self.number(self.files.used)?;
        let usage = Usage { limit, used };
        // What is reclaimable takes longer to find out.
        if usage.level() == Level::Room {
            return Some(usage);
        }
        let used = used.saturating_sub(self.reclaimable());
        Some(Usage { limit, used })
    }

    /// Bytes of files that are kept because there is room.
    fn reclaimable(&self) -> u64 {
        let stat = fs::read_to_string(self.dir.join("memory.stat")).unwrap_or_default();
        let of_files = stat.lines().filter_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            let counts = self.files.reclaimable.contains(&name);
            counts.then(|| bytes.parse::<u64>().ok())?
        });
        of_files.sum()
    }

    fn number(&self, file: &str) -> Option<u64> {
        let text = fs::read_to_string(self.dir.join(file)).ok()?;
        text.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(dir).unwrap();
        for (name, content) in files {
            fs::write(dir.join(name), content).unwrap();
        }
    }

    fn level(group: &Group) -> Option<Level> {
        group.usage().map(Usage::level)
    }

    #[test]
    fn a_limit_anywhere_above_counts() {
        let mounted = tempfile::tempdir().unwrap();
        let [own, above] = ["a.slice/b.service", "a.slice"].map(|dir| mounted.path().join(dir));
        let of_own = [("memory.max", "max\n"), ("memory.current", "900\n")];
        write(&own, &of_own);
        let of_above = [("memory.max", "1000\n"), ("memory.current", "800\n")];
        write(&above, &of_above);
        let groups = groups(mounted.path(), "0::/a.slice/b.service\n");
        assert_eq!(groups.len(), 2);
        let levels = || [level(&groups[0]), level(&groups[1])];
        assert_eq!(levels(), [None, Some(Level::Room)]);
        write(&above, &[("memory.current", "801\n")]);
        assert_eq!(levels(), [None, Some(Level::Short)]);
    }

    #[test]
    fn the_level_rises_with_what_is_used() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[("memory.max", "1000\n")]);
        let groups = groups(dir.path(), "0::/\n");
        let seen = [800, 801, 900, 901, 2000].map(|used| {
            write(dir.path(), &[("memory.current", &used.to_string())]);
            let usage = groups[0].usage().unwrap();
            (usage.level(), usage.excess())
        });
        use Level::*;
        let expected = [
            (Room, 0),
            (Short, 1),
            (Short, 100),
            (Full, 101),
            (Full, 1200),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_files_take_is_free() {
        let mounted = tempfile::tempdir().unwrap();
        let root = mounted.path().join("memory");
        let stat = "inactive_file 7\ntotal_inactive_file 100\ntotal_active_file 50\n";
        write(
            &root,
            &[
                ("memory.limit_in_bytes", "1000\n"),
                ("memory.usage_in_bytes", "950\n"),
                ("memory.stat", stat),
            ],
        );
        // The path is one that a container does not see.
        let groups = groups(mounted.path(), "4:cpu,memory:/docker/0123\n1:cpu:/\n0::/\n");
        assert_eq!(groups.len(), 1);
        assert_eq!(level(&groups[0]), Some(Level::Room));
        write(&root, &[("memory.usage_in_bytes", "951\n")]);
        assert_eq!(level(&groups[0]), Some(Level::Short));
    }

    #[test]
    fn a_group_need_not_have_a_limit() {
        let mounted = tempfile::tempdir().unwrap();
        let none = [
            ("memory.limit_in_bytes", "9223372036854771712"),
            ("memory.usage_in_bytes", "9223372036854771712"),
        ];
        write(&mounted.path().join("memory"), &none);
        let found = groups(mounted.path(), "4:memory:/\n");
        assert_eq!(found[0].limit(), None);
        assert_eq!(found[0].usage(), None);
        assert!(groups(mounted.path(), "").is_empty());
    }
}
