# What one does here, by name (https://just.systems). Without `just`, copy the lines.

# Builds the program and runs the small grid on the CPU.
quickstart:
    cargo run --release -- run experiments/quickstart.toml --device cpu

# Formatting, lints and docs: what fails first.
check:
    cargo fmt --all --check
    cargo clippy --locked --all-targets -- -D warnings
    RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --lib

# The tests, on the build that users run; `cargo test` alone compiles our own code faster.
test *ARGS:
    cargo test --release {{ARGS}}

# Every check that must hold before a change is merged.
ci:
    .ci/run

# Writes the generated pages of the docs anew.
docs:
    BLESS=1 cargo test --test docs

# The docs as a book, in target/book (needs mdbook).
book:
    mdbook build docs

# Counts the files that a new decoder, dataset kind, corruption, format or key touches.
additions:
    scripts/additions.py

# Ours against PyTorch, one training step side by side (needs torch and timm).
speed:
    cargo bench --bench model_step --no-run
    scripts/compare_speed.py --ours "$(ls -t target/release/deps/model_step-* | grep -v '\.d$' | head -1)"
