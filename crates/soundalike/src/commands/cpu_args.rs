//! How the CPU computes the networks.

use soundalike_model::Kernels;

/// More threads than cores gain nothing, and a system runs out of them.
const MAX_THREADS: i64 = 1024;

/// How the CPU computes the networks.
#[derive(Debug, clap::Args)]
pub(crate) struct CpuArgs {
    /// Threads of the CPU [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS))]
    threads: Option<u16>,
    /// Compute without the kernels written by hand, which takes several times as long
    #[arg(long)]
    portable: bool,
}

impl CpuArgs {
    /// By which code.
    pub(crate) fn kernels(&self) -> Kernels {
        if self.portable {
            Kernels::Portable
        } else {
            Kernels::native()
        }
    }

    /// Starts the threads; once, before there is anything for them to do.
    pub(crate) fn start_threads(&self) -> anyhow::Result<()> {
        if let Some(threads) = self.threads {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads.into())
                .build_global()?;
        }
        Ok(())
    }
}
