//! Tests of the kit as a whole. Those that need servers are ignored by plain `cargo test`; `make test` runs them.

mod events;
mod demo;
mod emulator;
mod kinesis;
mod polling;
mod end_to_end;
mod streams;
mod moto;
mod capacity;
mod fault_proxy;
mod mirror_table;
mod mirror_end_to_end;
mod journal_table;
mod journal_end_to_end;
mod lease_table;
mod kcl;
mod take_over;
mod properties;
mod operate;
mod operator;
mod redrive;
mod replay;
mod scale;
mod repository;
mod template;
mod live;
