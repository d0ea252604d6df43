//! A file system in memory that fails on demand and forgets on a crash what was not made durable.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

/// Handles share one state.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Bytes that may still be written.
    space: Option<u64>,
    failing_writes: u32,
    failing_syncs: u32,
    failing_truncates: u32,
    /// Reads that succeed before the failing ones, and those.
    failing_reads: (u32, u32),
    /// Grows at each crash: handles of a former life do nothing.
    life: u32,
    /// Successful `fdatasync` calls.
    syncs: u64,
}

#[derive(Debug, Default, Clone)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
    life: u32,
}

impl SimDisk {
    /// Lets this many bytes be written; `None` for no bound.
    pub fn set_space(&self, space: Option<u64>) {
        self.0.lock().unwrap().space = space;
    }

    /// Lets the next `count` writes fail half way with `EIO`.
    pub fn fail_writes(&self, count: u32) {
        self.0.lock().unwrap().failing_writes = count;
    }

    /// Lets the next `count` calls of `fdatasync` fail; what they should have kept is lost for good.
    pub fn fail_syncs(&self, count: u32) {
        self.0.lock().unwrap().failing_syncs = count;
    }

    /// Lets the next `count` truncations fail.
    pub fn fail_truncates(&self, count: u32) {
        self.0.lock().unwrap().failing_truncates = count;
    }

    /// Lets `count` reads fail with `EIO` after the next `after` ones; nothing is lost.
    pub fn fail_reads(&self, after: u32, count: u32) {
        self.0.lock().unwrap().failing_reads = (after, count);
    }

    /// Lets every call from now on panic.
    pub fn break_down(&self) {
        let disk = self.clone();
        let poisoned = std::thread::spawn(move || {
            let _held = disk.0.lock().unwrap();
            panic!("the disk breaks down, as the test wants it");
        });
        poisoned.join().unwrap_err();
    }

    /// Lets every call wait until what is returned is dropped.
    pub fn block(&self) -> impl Drop + '_ {
        self.0.lock().unwrap()
    }

    /// Successful `fdatasync` calls so far.
    pub fn syncs(&self) -> u64 {
        self.0.lock().unwrap().syncs
    }

    /// Files with their sizes.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.0.lock().unwrap();
        state
            .names
            .iter()
            .map(|(path, inode)| (path.clone(), state.inodes[*inode].live.len() as u64))
            .collect()
    }

    /// Turns one byte of a file over, on the medium.
    pub fn flip(&self, path: &Path, offset: u64) {
        let mut state = self.0.lock().unwrap();
        let inode = state.names[path];
        state.inodes[inode].live[offset as usize] ^= 0xff;
        if let Some(byte) = state.inodes[inode].durable.get_mut(offset as usize) {
            *byte ^= 0xff;
        }
    }

    /// Loses power: of what was not durable an arbitrary part survives, sector by sector.
    pub fn crash(&self, seed: u64) {
        let mut state = self.0.lock().unwrap();
        let mut random = Random(seed);
        state.life += 1;
        for inode in &mut state.inodes {
            let mut kept = inode.durable.clone();
            for change in std::mem::take(&mut inode.pending) {
                apply_torn(&mut kept, &change, &mut random);
            }
            inode.live.clone_from(&kept);
            inode.durable = kept;
        }
        let mut names = state.durable_names.clone();
        for (path, inode) in &state.names {
            if !names.contains_key(path) && random.coin() {
                names.insert(path.clone(), *inode);
            }
        }
        state.names.clone_from(&names);
        state.durable_names = names;
        (state.space, state.failing_syncs, state.failing_writes, state.failing_truncates) = (None, 0, 0, 0);
    }

    fn file(&self, inode: usize, life: u32) -> Box<dyn DiskFile> {
        Box::new(SimFile { disk: self.clone(), inode, life })
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Truncate(size) => content.resize(*size as usize, 0),
        Change::Write(offset, bytes) => {
            let end = *offset as usize + bytes.len();
            content.resize(content.len().max(end), 0);
            content[*offset as usize..end].copy_from_slice(bytes);
        }
    }
}

fn apply_torn(content: &mut Vec<u8>, change: &Change, random: &mut Random) {
    let Change::Write(offset, bytes) = change else {
        if random.coin() {
            apply(content, change);
        }
        return;
    };
    let mut at = 0;
    while at < bytes.len() {
        let to_boundary = SECTOR - (*offset as usize + at) % SECTOR;
        let end = bytes.len().min(at + to_boundary);
        if random.coin() {
            apply(content, &Change::Write(offset + at as u64, bytes[at..end].to_vec()));
        }
        at = end;
    }
}

/// SplitMix64.
pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}

impl Disk for SimDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.0.lock().unwrap();
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.names.insert(path.into(), inode);
        Ok(self.file(inode, state.life))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.0.lock().unwrap();
        let inode = state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(*inode, state.life))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock().unwrap();
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.into())).collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.lock().unwrap().names.remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.into(), inode);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let inside: Vec<_> = state.names.iter().filter(|(path, _)| path.parent() == Some(dir)).collect();
        let inside: Vec<(PathBuf, usize)> =
            inside.into_iter().map(|(path, inode)| (path.clone(), *inode)).collect();
        state.durable_names.retain(|path, _| path.parent() != Some(dir));
        state.durable_names.extend(inside);
        Ok(())
    }
}

impl SimFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.disk.0.lock().unwrap();
        if state.life != self.life {
            return Err(eio());
        }
        let inode = &mut state.inodes[self.inode];
        apply(&mut inode.live, &change);
        inode.pending.push(change);
        Ok(())
    }

    /// How many of `wanted` bytes may be written, and the error to give afterwards.
    fn grant(&self, wanted: u64, offset: u64) -> (u64, Option<io::Error>) {
        let mut state = self.disk.0.lock().unwrap();
        if state.failing_writes > 0 {
            state.failing_writes -= 1;
            return (wanted / 2, Some(eio()));
        }
        // Only what makes the file longer takes space.
        let size = state.inodes[self.inode].live.len() as u64;
        let grown = (offset + wanted).saturating_sub(size);
        match state.space {
            Some(space) if grown > space => {
                state.space = Some(0);
                (
                    wanted - (grown - space),
                    Some(io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error())),
                )
            }
            Some(space) => {
                state.space = Some(space - grown);
                (wanted, None)
            }
            None => (wanted, None),
        }
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().unwrap().inodes[self.inode].live.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.0.lock().unwrap();
        match &mut state.failing_reads {
            (0, 0) => {}
            (0, count) => {
                *count -= 1;
                return Err(eio());
            }
            (after, _) => *after -= 1,
        }
        let live = &state.inodes[self.inode].live;
        let from = live.len().min(offset as usize);
        let count = buffer.len().min(live.len() - from);
        buffer[..count].copy_from_slice(&live[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (granted, error) = self.grant(bytes.len() as u64, offset);
        self.change(Change::Write(offset, bytes[..granted as usize].to_vec()))?;
        error.map_or(Ok(()), Err)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        {
            let mut state = self.disk.0.lock().unwrap();
            if state.failing_truncates > 0 {
                state.failing_truncates -= 1;
                return Err(eio());
            }
        }
        self.change(Change::Truncate(size))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock().unwrap();
        if state.life != self.life {
            return Err(eio());
        }
        let fails = state.failing_syncs > 0;
        state.failing_syncs = state.failing_syncs.saturating_sub(1);
        state.syncs += u64::from(!fails);
        let inode = &mut state.inodes[self.inode];
        let pending = std::mem::take(&mut inode.pending);
        if fails {
            return Err(eio());
        }
        for change in &pending {
            apply(&mut inode.durable, change);
        }
        Ok(())
    }
}
