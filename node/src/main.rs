//! The one binary of DTVN.

use std::process::ExitCode;

use dtvn::config::{Effective, Inputs, SETTINGS};

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into())).init();
    let mut flags = Vec::new();
    let mut arguments = std::env::args().skip(1).peekable();
    while let Some(argument) = arguments.next() {
        let name = argument.trim_start_matches('-').to_owned();
        let Some(setting) = SETTINGS.iter().find(|setting| setting.flag == Some(&name)) else { continue };
        let value = match arguments.peek() {
            Some(next) if !next.starts_with('-') => arguments.next().unwrap_or_default(),
            _ => "true".to_owned(),
        };
        flags.push((setting, value));
    }
    let run = || -> anyhow::Result<ExitCode> {
        let effective = Effective::load(&Inputs::of_process(None, flags))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(dtvn::validator::run(effective.config))
    };
    run().unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::FAILURE
    })
}
