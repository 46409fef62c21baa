//! The program `dtvn`, built together with the tests that run it.

fn main() -> std::process::ExitCode {
    dtvn::cli::main()
}
