//! NVIDIA's GPUs, as their driver's management library (NVML) tells of them.
//!
//! The library comes with the driver, so it is looked up on the host and loaded only when it is there; a machine without
//! GPUs pays for a look at a dozen paths. A call may hang, so a thread of its own asks, and snapshots take what it last
//! said. A static build cannot load libraries, and says so.

mod emit;
mod library;
#[cfg(all(feature = "gpu", target_env = "gnu"))]
mod nvml;
mod window;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

pub use emit::{emit, emit_containers};

/// Between two looks for a library that was not there: a driver may be installed while the agent runs.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// A library that has not answered for so long hangs.
const HANGS_AFTER: Duration = Duration::from_secs(15);

/// Average and largest of several percentages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Average.
    pub average: f64,
    /// Largest.
    pub peak: f64,
}

/// What a process did with a GPU, in percent of the time of the last 15 s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessUse {
    /// The process.
    pub pid: u32,
    /// Time that its kernels ran.
    pub compute_percent: f64,
    /// Time that memory was read or written for it.
    pub memory_percent: f64,
}

/// A GPU. What it does not support is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gpu {
    /// Its id, unique in the world.
    pub uuid: String,
    /// Its model.
    pub name: String,
    /// Version of the driver.
    pub driver: String,
    /// Memory, bytes.
    pub memory_total: Option<u64>,
    /// Memory in use, bytes.
    pub memory_used: Option<u64>,
    /// Percent of the time that memory was read or written, over the last 15 s.
    pub memory_utilization: Option<Range>,
    /// Percent of the time that kernels ran, over the last 15 s.
    pub utilization: Option<Range>,
    /// Temperature, degrees Celsius.
    pub temperature: Option<f64>,
    /// Power drawn, watts.
    pub power: Option<f64>,
    /// Who used it.
    pub processes: Vec<ProcessUse>,
}

/// Where the library is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Library {
    /// At one of the usual paths of the host.
    #[default]
    Usual,
    /// Here.
    At(PathBuf),
    /// Nowhere: GPUs are not wanted.
    Never,
}

/// What is known.
#[derive(Debug)]
enum State {
    /// Nobody asks, for this reason.
    Unasked(String),
    /// The last answer and when it came.
    Known(Vec<Gpu>, Instant),
}

/// The GPUs of the host, shared with the thread that asks.
#[derive(Clone, Debug)]
pub struct Gpus {
    library: Library,
    proc_root: PathBuf,
    stop: CancellationToken,
    looked: Option<Instant>,
    /// Held for a replacement or a copy.
    state: Arc<Mutex<State>>,
}

impl Gpus {
    /// Looks for the library of the host whose procfs is at `proc_root`; where it is, a thread asks it until `stop` is
    /// cancelled.
    pub fn new(proc_root: &Path, library: Library, stop: CancellationToken) -> Self {
        let reason = match library {
            Library::Never => "turned off by gpu-library",
            _ => "not looked for yet",
        };
        let state = Arc::new(Mutex::new(State::Unasked(reason.to_owned())));
        Self { library, proc_root: proc_root.to_owned(), stop, looked: None, state }
    }

    /// No GPUs at all.
    pub fn none() -> Self {
        Self::new(Path::new("/proc"), Library::Never, CancellationToken::new())
    }

    /// What the library last said; nothing when it does not answer any more.
    pub fn read(&mut self) -> Vec<Gpu> {
        self.look_again();
        match &*self.state() {
            State::Known(gpus, at) if at.elapsed() < HANGS_AFTER => gpus.clone(),
            _ => Vec::new(),
        }
    }

    /// Why there are no series; `None` when the library answers.
    pub fn absent(&self) -> Option<String> {
        match &*self.state() {
            State::Unasked(reason) => Some(reason.clone()),
            State::Known(_, at) if at.elapsed() >= HANGS_AFTER => {
                Some(format!("the library has not answered for {} s", at.elapsed().as_secs()))
            }
            State::Known(gpus, _) => gpus.is_empty().then(|| "the driver shows no GPU".to_owned()),
        }
    }

    /// Whether the library is there and has shown nothing yet, as when the driver sleeps.
    pub fn may_be_loading(&self) -> bool {
        matches!(&*self.state(), State::Known(gpus, _) if gpus.is_empty())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for the library when nobody asks it, now and then.
    fn look_again(&mut self) {
        let is_due = self.looked.is_none_or(|at| at.elapsed() >= LOOK_AGAIN);
        if self.library == Library::Never || !is_due || !matches!(*self.state(), State::Unasked(_)) {
            return;
        }
        self.looked = Some(Instant::now());
        let reason = match library::find(&self.library, &self.proc_root) {
            Ok(path) => self.start(path),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = reason {
            *self.state() = State::Unasked(reason);
        }
    }

    #[cfg(all(feature = "gpu", target_env = "gnu"))]
    fn start(&self, path: PathBuf) -> Result<(), String> {
        // Counts as answering until it has had its time: loading takes seconds where the driver sleeps.
        *self.state() = State::Known(Vec::new(), Instant::now());
        let (state, stop) = (self.state.clone(), self.stop.clone());
        let thread = std::thread::Builder::new().name("nvml".to_owned());
        let ask = move || {
            let set = |new| *state.lock().unwrap_or_else(PoisonError::into_inner) = new;
            let ended = nvml::watch(&path, &stop, |gpus| set(State::Known(gpus, Instant::now())));
            if let Err(error) = ended {
                tracing::warn!(library = %path.display(), %error, "GPUs are not measured");
                set(State::Unasked(format!("{}: {error}", path.display())));
            }
        };
        thread.spawn(ask).map(|_| ()).map_err(|error| format!("no thread to ask the library: {error}"))
    }

    #[cfg(not(all(feature = "gpu", target_env = "gnu")))]
    fn start(&self, path: PathBuf) -> Result<(), String> {
        let _ = &self.stop;
        Err(format!("{} is there, but this build cannot load libraries: it is static", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_the_library_has_a_reason() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("1/root")).unwrap();
        let mut gpus = Gpus::new(root.path(), Library::Usual, CancellationToken::new());
        assert!(gpus.read().is_empty());
        assert_eq!(gpus.absent().unwrap(), "no libnvidia-ml.so.1 of NVIDIA's driver on the host");
        let mut off = Gpus::none();
        assert!(off.read().is_empty());
        assert_eq!(off.absent().unwrap(), "turned off by gpu-library");
    }

    #[test]
    fn what_is_no_library_has_a_reason() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let library = Library::At(file.path().to_owned());
        let mut gpus = Gpus::new(Path::new("/proc"), library, CancellationToken::new());
        let started = Instant::now();
        loop {
            assert!(gpus.read().is_empty());
            let reason = gpus.absent().unwrap();
            if reason.starts_with(file.path().to_str().unwrap()) {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{reason}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_library_that_hangs_has_no_series() {
        let mut gpus = Gpus::none();
        let long_ago = Instant::now().checked_sub(HANGS_AFTER * 2).expect("the machine runs for a minute");
        *gpus.state() = State::Known(vec![emit::tests::gpu()], long_ago);
        assert!(gpus.read().is_empty());
        let reason = gpus.absent().unwrap();
        assert!(reason.starts_with("the library has not answered for "), "{reason}");
        *gpus.state() = State::Known(vec![emit::tests::gpu()], Instant::now());
        assert_eq!((gpus.read().len(), gpus.absent()), (1, None));
    }
}
