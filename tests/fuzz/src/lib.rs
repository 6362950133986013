//! Bodies of fuzz targets. Each takes bytes, which decide the calls, and panics
//! if a guarantee is broken. cargo-fuzz runs them from `fuzz/fuzz_targets`,
//! proptest from `tests/properties.rs`.

mod commands;
mod connection;
mod framing;
mod hello;
// Responses are not made here.
#[allow(dead_code, unused_imports)]
#[path = "../../../examples/metrics/http/mod.rs"]
mod http;
mod http_requests;
mod input;
mod kv;
#[path = "../../it/util/secured/noise.rs"]
mod noise;
mod proxy_header;
mod reference;
mod session;
#[path = "../../it/util/secured/tls.rs"]
mod tls;

pub use commands::commands;
pub use connection::connection;
pub use framing::framing;
pub use hello::hello;
pub use http_requests::http_requests;
pub use kv::kv;
pub use proxy_header::proxy_header;
pub use session::session;
