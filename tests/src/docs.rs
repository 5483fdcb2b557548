//! Compiles the Rust snippets of the documentation: `cargo test --doc -p kit-tests`.
//!
//! Each page with snippets is listed here, which the test `every_page_with_rust_is_compiled` checks.

macro_rules! pages {
    ($($name:ident: $path:literal),* $(,)?) => {
        $(
            #[cfg(doctest)]
            #[doc = include_str!(concat!("../../", $path))]
            struct $name;
        )*
    };
}

pages! {
    Readme: "README.md",
    Chunks: "docs/chunks.md",
    Windows: "docs/windows.md",
    Configuration: "docs/configuration.md",
    Errors: "docs/errors.md",
    Idempotency: "docs/idempotency.md",
    Metrics: "docs/metrics.md",
    Outages: "docs/outages.md",
    Migrating: "docs/migrating.md",
    Payloads: "docs/payloads.md",
    Processors: "docs/processors.md",
    Testing: "docs/testing.md",
    Tutorial: "docs/tutorial.md",
}
