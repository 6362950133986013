//! The proxies that a listener trusts.

use std::net::IpAddr;
use std::sync::Arc;

use super::Network;
use super::check::check;
use crate::error::ConfigError;

/// The proxies whose PROXY headers a listener accepts, for
/// [`ListenOptions::proxy_protocol`](crate::ListenOptions::proxy_protocol).
///
/// A host in these networks decides which address a connection has. Name only
/// hosts that you operate, and as few as possible.
///
/// ```
/// use peerloop::config::{ConfigError, TrustedProxies};
///
/// fn proxies() -> Result<TrustedProxies, ConfigError> {
///     Ok(TrustedProxies::new(["10.0.7.0/24".parse()?, "::1".parse()?]))
/// }
/// # assert_eq!(proxies().unwrap().networks().len(), 2);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrustedProxies(Arc<[Network]>);

impl TrustedProxies {
    /// Creates the list of trusted networks. Listening fails with `InvalidInput`
    /// if it is empty. Each accepted connection is compared with every network
    /// of the list, so the list should be short.
    pub fn new(networks: impl Into<Vec<Network>>) -> Self {
        Self(networks.into().into())
    }

    /// Returns the networks.
    pub fn networks(&self) -> &[Network] {
        &self.0
    }

    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(ip))
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let problem = "is empty; `None` expects no header";
        check(!self.0.is_empty(), "proxy_protocol", problem)
    }
}
