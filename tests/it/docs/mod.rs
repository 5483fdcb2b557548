//! The documentation agrees with itself and with the code: links, snippets, names, and every output that it shows.

mod page;
mod links;
mod names;
mod snippets;
mod outputs;
