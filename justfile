# Short names for what is done often; each is one command.

# Run a development server.
serve *arguments:
    cargo run -- serve --dev {{arguments}}

# Run the tests, or those whose names contain a word; with --all those that take long as well.
test *words:
    scripts/test {{words}}

# Write the files that are made from the code.
update:
    UPDATE=1 cargo test --test it generated

# Measure, beside the limits of the machine.
bench:
    cargo bench --bench service
    cargo bench --bench timing

# Do what the gate does.
gate:
    .ci/run

# Ask for known holes in what is built in; before a release. Needs the network.
advisories:
    cargo deny --locked check advisories

# Take the pictures of the guide's gallery anew.
gallery:
    scripts/gallery
