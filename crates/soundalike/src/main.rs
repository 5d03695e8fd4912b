//! The command line.
//!
//! Each file of `commands` is a subcommand: it turns arguments into calls of the library and renders the result. Data
//! goes to stdout or `-o`, messages and progress to stderr.

mod commands;
mod output;
mod tensor_table;
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Speaker diarization without Python, and stage-by-stage comparison of two implementations of a network
#[derive(Parser)]
#[command(name = "soundalike", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    verbosity: terminal::Verbosity,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Diarize(Box<commands::diarize::Args>),
    Recluster(Box<commands::recluster::Args>),
    Convert(commands::convert::Args),
    Inspect(commands::inspect::Args),
    Score(Box<commands::score::Args>),
    Compare(Box<commands::compare::Args>),
    Attribute(commands::attribute::Args),
    SelfTest(Box<commands::self_test::Args>),
    Gate(commands::gate::Args),
    Trace(commands::trace::Args),
    Models(Box<commands::models::Args>),
    Bench(Box<commands::bench::Args>),
}

/// Exit code if a gate failed or nothing could be concluded.
const GATE_FAILED: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = terminal::Terminal::new(cli.verbosity);
    let result = match cli.command {
        Command::Diarize(args) => commands::diarize::run(&args, &terminal),
        Command::Recluster(args) => commands::recluster::run(&args, &terminal),
        Command::Convert(args) => commands::convert::run(&args, &terminal),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Score(args) => commands::score::run(&args, &terminal),
        Command::Models(args) => commands::models::run(&args, &terminal),
        Command::Bench(args) => commands::bench::run(&args, &terminal),
        Command::Gate(args) => commands::gate::run(&args),
        Command::Trace(args) => commands::trace::run(&args, &terminal),
        Command::Attribute(args) => commands::attribute::run(&args),
        Command::Compare(args) => {
            return end(commands::compare::run(&args, &terminal), &terminal);
        }
        Command::SelfTest(args) => {
            return end(commands::self_test::run(&args, &terminal), &terminal);
        }
    };
    end(result.map(|()| true), &terminal)
}

/// Exit code of a command; `Ok(false)` is a failed gate.
fn end(result: anyhow::Result<bool>, terminal: &terminal::Terminal) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(GATE_FAILED),
        // `soundalike ... | head`: the reader closed our stdout.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            terminal.error(&error);
            ExitCode::FAILURE
        }
    }
}
