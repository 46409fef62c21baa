//! The program `dtvn`.

fn main() -> std::process::ExitCode {
    dtvn::cli::main()
}
