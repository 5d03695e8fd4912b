//! Runs Python.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

/// The variable that names the interpreter.
const VARIABLE: &str = "SOUNDALIKE_PYTHON";
/// On a busy machine, importing pyannote.audio for the first time takes a minute.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Time from one look at the process to the next.
const POLL: Duration = Duration::from_millis(20);
/// Most characters of Python's last words that are repeated.
const MAX_MESSAGE: usize = 2000;

/// An interpreter.
pub(super) struct Python {
    program: OsString,
    timeout: Duration,
}

impl Python {
    /// `SOUNDALIKE_PYTHON`, else `python3`.
    pub(super) fn from_environment() -> Self {
        Self {
            program: std::env::var_os(VARIABLE).unwrap_or_else(|| "python3".into()),
            timeout: TIMEOUT,
        }
    }

    /// Runs `script` with `arguments`, isolated from the user's environment and directory. What it prints is ignored, except
    /// for the last line on stderr if it fails; `directory` holds it meanwhile.
    pub(super) fn run(
        &self,
        script: &str,
        arguments: &[&Path],
        directory: &Path,
    ) -> anyhow::Result<()> {
        let program = self.program.display();
        let stderr = directory.join("stderr");
        let file = File::create(&stderr).context("no temporary file")?;
        let mut command = Command::new(&self.program);
        command.args(["-I", "-c", script]).args(arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file);
        let child = command.spawn().with_context(|| {
            format!("{program} does not run; install Python with torch, or name one by {VARIABLE}")
        })?;
        let Some(status) = wait(child, self.timeout)? else {
            let seconds = self.timeout.as_secs();
            bail!(
                "{program} did not end within {seconds} s and was stopped; does {VARIABLE} name a Python interpreter?"
            );
        };
        let bytes = fs::read(&stderr).unwrap_or_default();
        ensure!(status.success(), "{program}: {}", last_line(&bytes, status));
        Ok(())
    }
}

/// The exit status of `child`. `None` if it did not end in time; it is killed then.
fn wait(mut child: Child, timeout: Duration) -> std::io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    while start.elapsed() < timeout {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(POLL);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// The error message of a Python program.
fn last_line(stderr: &[u8], status: ExitStatus) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    match line {
        Some(line) => line.trim().chars().take(MAX_MESSAGE).collect(),
        None => format!("ended with {status} and without a message"),
    }
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    /// Runs the shell as if it were Python; the script is the third argument.
    fn error(script: &str, timeout: Duration) -> String {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("python");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let program = program.into_os_string();
        let python = Python { program, timeout };
        let result = python.run("", &[], directory.path());
        format!("{:#}", result.unwrap_err())
    }

    #[test]
    fn a_python_that_hangs_is_stopped() {
        let start = Instant::now();
        let error = error("exec sleep 60", Duration::from_millis(200));
        assert!(
            error.contains("did not end within 0 s and was stopped"),
            "{error}"
        );
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn the_last_line_on_stderr_is_the_error() {
        let script = "echo rubbish; echo Traceback >&2; echo 'ValueError: 3' >&2; exit 1";
        let error = error(script, TIMEOUT);
        assert!(error.ends_with(": ValueError: 3"), "{error}");
    }

    #[test]
    fn a_silent_failure_has_its_status() {
        let error = error("exit 7", TIMEOUT);
        assert!(error.contains("exit status: 7"), "{error}");
    }
}
