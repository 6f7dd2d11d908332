# Short names for frequent commands.

# Run a development server.
serve *arguments:
    cargo run -- serve --dev {{arguments}}

# Run the tests, or those whose names contain a word. With --all, also run the slow tests.
test *words:
    scripts/test {{words}}

# Write the files that are generated from the code.
update:
    UPDATE=1 cargo test --test it generated

# Run the benchmarks.
bench:
    cargo bench --bench service
    cargo bench --bench timing

# Compare Tessera with its limits and with other programs: --short takes minutes.
compare *arguments:
    benches/compare {{arguments}}

# Run the gate: all checks and all tests.
gate:
    .ci/run

# Check the dependencies for known vulnerabilities. Run it before a release; it needs the network.
advisories:
    cargo deny --locked check advisories

# Take the pictures of the guide's gallery again.
gallery:
    scripts/gallery
