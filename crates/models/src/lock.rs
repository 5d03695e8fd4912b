//! A lock between processes.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
};

use crate::error::Error;

/// Held by the process that changes a model. The system releases it when the process ends, however it ends.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock of a model; calls `waiting` first if another process holds it. The file of a lock is kept: a
    /// process may wait for it.
    pub(crate) fn acquire(root: &Path, name: &str, waiting: impl FnOnce()) -> Result<Self, Error> {
        let directory = root.join(".locks");
        fs::create_dir_all(&directory).map_err(Error::not_writable(root))?;
        let path = directory.join(name);
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        let file = options.open(&path).map_err(Error::not_writable(root))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waiting();
                file.lock().map_err(Error::io("locking", &path))?;
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("locking", &path)(error)),
        }
        Ok(Self { _file: file })
    }
}
