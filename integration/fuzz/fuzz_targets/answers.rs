//! One of the targets of `dtvn-fuzzing`, for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some(target) = dtvn_fuzzing::find("answers") {
        let _judged = target.check(input);
    }
});
