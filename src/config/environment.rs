//! What the process finds around it: memory, environment variables. Read once, then handed on as a value.

use std::collections::HashMap;
use std::path::Path;

/// What settings depend on besides the file and the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// What the cgroup, or else the host, lets this process use, in bytes; `None` where nobody says.
    pub memory_bytes: Option<u64>,
    /// The environment variables whose names and values are text.
    pub variables: HashMap<String, String>,
}

impl Environment {
    /// What is around this process.
    pub fn of_this_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Environment { memory_bytes: memory_under(Path::new("/")), variables }
    }
}

/// The least of what the host has and what any cgroup above the process allows.
fn memory_under(root: &Path) -> Option<u64> {
    let host = std::fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| total_of(&text));
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    groups.lines().filter_map(|line| group_limit(root, line)).chain(host).min()
}

fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The limit that one line of `/proc/self/cgroup` leads to: `0::/path` (version 2), `5:memory:/path` (1).
fn group_limit(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        list if list.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let mount = root.join(mount);
    mount
        .join(path)
        .ancestors()
        .take_while(|directory| directory.starts_with(&mount))
        .filter_map(|directory| std::fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok())
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       2048 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_narrowest_limit_counts() {
        for (files, want) in [
            (vec![], None),
            (vec![MEMINFO], Some(2048 << 10)),
            (
                vec![MEMINFO, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "max\n")],
                Some(2048 << 10),
            ),
            (
                vec![
                    MEMINFO,
                    ("proc/self/cgroup", "0::/a/b\n"),
                    ("sys/fs/cgroup/a/memory.max", "4096\n"),
                    ("sys/fs/cgroup/a/b/memory.max", "8192\n"),
                ],
                Some(4096),
            ),
            (
                vec![
                    MEMINFO,
                    ("proc/self/cgroup", "4:cpu:/x\n5:memory:/x\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "12288\n"),
                ],
                Some(12288),
            ),
        ] {
            let root = tree(&files);
            assert_eq!(memory_under(root.path()), want, "{files:?}");
        }
    }
}
