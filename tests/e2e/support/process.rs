//! A child process that can be stopped, killed, frozen and started again, and that never outlives its test.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

/// A command to start, and where to say how that went.
type Order = (Command, Sender<std::io::Result<Child>>);

/// Starts a process from a thread that lives as long as the test run. "Die with the parent" means the thread that
/// spawned, and the thread of a test, or one that a test starts, may end long before its servers are needed no more.
fn spawn(command: Command) -> std::io::Result<Child> {
    static ORDERS: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
        let (orders, received) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in received {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, result) = channel();
    ORDERS.lock().unwrap().send((command, answer)).unwrap();
    result.recv().unwrap()
}

/// One program and, while it runs, its child process. Output goes to a log file that survives restarts.
pub struct Process {
    program: PathBuf,
    args: Vec<String>,
    dir: PathBuf,
    env: Vec<(String, String)>,
    clear_env: bool,
    log: PathBuf,
    child: Option<Child>,
    /// How often it was started.
    pub launches: usize,
}

impl Process {
    pub fn new(program: impl Into<PathBuf>, args: Vec<String>, dir: &Path, log: &Path) -> Self {
        Self {
            program: program.into(),
            args,
            dir: dir.into(),
            env: Vec::new(),
            clear_env: false,
            log: log.into(),
            child: None,
            launches: 0,
        }
    }

    /// Starts with these variables (and PATH, HOME, TMPDIR) alone.
    pub fn only_env(mut self, env: Vec<(String, String)>) -> Self {
        self.clear_env = true;
        self.env = env;
        self
    }

    pub fn spawn(&mut self) {
        assert!(!self.alive(), "{} runs already", self.program.display());
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let mut cmd = Command::new(&self.program);
        cmd.args(&self.args).current_dir(&self.dir).stdin(Stdio::null());
        cmd.stdout(log.try_clone().unwrap()).stderr(log);
        if self.clear_env {
            cmd.env_clear();
            for name in ["PATH", "HOME", "TMPDIR"] {
                if let Some(value) = std::env::var_os(name) {
                    cmd.env(name, value);
                }
            }
        }
        cmd.envs(self.env.iter().map(|(k, v)| (k, v)));
        cmd.process_group(0);
        // SAFETY: prctl is async-signal-safe and touches nothing of this process. An aborted test run leaves nothing
        // behind.
        unsafe {
            cmd.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        self.child = Some(spawn(cmd).unwrap_or_else(|e| panic!("cannot start {}: {e}", self.program.display())));
        self.launches += 1;
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub fn alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|c| c.try_wait().unwrap().is_none())
    }

    pub fn signal(&mut self, signal: i32) {
        if self.alive() {
            let pid = self.pid().unwrap() as i32;
            // SAFETY: the child has not been waited for, so the pid is still its own.
            unsafe { libc::kill(pid, signal) };
        }
    }

    /// SIGSTOP: the process is frozen, its sockets stay open. Returns when it really stands still.
    pub fn freeze(&mut self) {
        self.signal(libc::SIGSTOP);
        let pid = self.pid().unwrap();
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if stat.rsplit(')').next().is_some_and(|s| s.trim_start().starts_with('T')) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn thaw(&mut self) {
        self.signal(libc::SIGCONT);
    }

    /// kill -9, and gone when this returns.
    pub fn kill(&mut self) {
        self.signal(libc::SIGKILL);
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
    }

    /// SIGTERM, then kill -9 where that does not help in time.
    pub fn stop(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.thaw();
        self.signal(libc::SIGTERM);
        let status = self.wait(patience);
        self.kill();
        status
    }

    /// The exit status, or nothing where it still runs after `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + patience;
        let child = self.child.as_mut()?;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return Some(status);
            }
            if Instant::now() >= end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of the log, for messages of failed tests.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
