# SPDX-License-Identifier: MIT OR Apache-2.0
# The fuzz targets of tests/fuzz under libFuzzer. A stable compiler does: its coverage passes are options of LLVM.
# shellcheck shell=sh

# fuzz_targets: prints the name of each target.
fuzz_targets() { sed -n 's|^path = "fuzz_targets/\(.*\)\.rs"|\1|p' "$root/tests/fuzz/cargo-fuzz/Cargo.toml"; }

# host_triple: the build machine's target; naming it keeps the coverage passes out of build scripts.
host_triple() {
    triple_rustc=rustc
    [ "$toolchain" = rustup ] || triple_rustc=/usr/bin/rustc
    "$triple_rustc" -vV | sed -n 's/^host: //p'
}

# need_fuzzers: builds the fuzzers and their seeds; sets fuzzers to their directory.
need_fuzzers() {
    [ -z "${fuzzers:-}" ] || return 0
    need_toolchain
    have c++ || install_packages "libFuzzer, which is C++" g++ || return 1
    need_device_trees || return 1
    fuzz_triple=$(host_triple)
    fuzz_passes="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Ccodegen-units=1 --cfg=fuzzing"
    step "building the fuzzers"
    fuzz_target_dir=${CARGO_TARGET_DIR:-$root/target}/fuzz
    (
        CARGO_TARGET_DIR=$fuzz_target_dir
        RUSTFLAGS=$fuzz_passes
        export CARGO_TARGET_DIR RUSTFLAGS
        logged "$out/log/fuzz-build.log" host_cargo build --release --target "$fuzz_triple" \
            --manifest-path "$root/tests/fuzz/cargo-fuzz/Cargo.toml"
    ) || return 1
    [ "$toolchain" = rustup ] || fuzz_target_dir=$fuzz_target_dir/debian
    fuzzers=$fuzz_target_dir/$fuzz_triple/release
    logged "$out/log/fuzz-seeds.log" host_cargo run -p bulkhead-fuzz --bin make-seeds -- "$out/fuzz"
}

# fuzz_replay TARGET FILE: runs one input.
fuzz_replay() { "$fuzzers/$1" -timeout=10 "$2"; }

# fuzz_run TARGET RUNS SEED [CORPUS]: runs the target that often, from the made seeds and those of tests/fuzz/seeds; a
# finding is left as a file. New inputs go to CORPUS, if that is given; without, the run depends on the seed only.
fuzz_run() {
    fuzz_out=$out/fuzz/$1
    mkdir -p "$fuzz_out"
    find "$fuzz_out/seeds" "$root/tests/fuzz/seeds/$1" -type f 2>/dev/null | LC_ALL=C sort |
        paste -s -d , - >"$fuzz_out/seed-list"
    # Words on purpose.
    # shellcheck disable=SC2046
    "$fuzzers/$1" -runs="$2" -seed="$3" -timeout=10 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
        -artifact_prefix="$fuzz_out/" -seed_inputs=@"$fuzz_out/seed-list" \
        $([ ! -f "$fuzz_out/dictionary" ] || printf -- '-dict=%s' "$fuzz_out/dictionary") ${4:+"$4"} >"$fuzz_out/log" 2>&1 &&
        return 0
    fuzz_input=$(sed -n 's/.*Test unit written to //p' "$fuzz_out/log" | tail -n 1)
    grep -v -e '^#' -e '^INFO' -e '^NEW_FUNC' "$fuzz_out/log" | tail -n 40
    say "input: ${fuzz_input:-none was written}; replay it with: scripts/fuzz $1 --input ${fuzz_input:-FILE}"
    return 1
}
