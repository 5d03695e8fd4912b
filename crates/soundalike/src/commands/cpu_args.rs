//! Options for the CPU.

use soundalike_model::Kernels;

/// Most threads: more than cores gain nothing, and the system's number is limited.
const MAX_THREADS: i64 = 1024;

/// Options for the CPU.
#[derive(Debug, clap::Args)]
pub(crate) struct CpuArgs {
    /// Number of CPU threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS))]
    threads: Option<u16>,
    /// Do not use the hand-written SIMD kernels: several times slower
    #[arg(long)]
    portable: bool,
}

impl CpuArgs {
    /// The kernels of the networks.
    pub(crate) fn kernels(&self) -> Kernels {
        if self.portable {
            Kernels::Portable
        } else {
            Kernels::native()
        }
    }

    /// Starts the threads. Call it once, before any work.
    pub(crate) fn start_threads(&self) -> anyhow::Result<()> {
        if let Some(threads) = self.threads {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads.into())
                .build_global()?;
        }
        Ok(())
    }
}
