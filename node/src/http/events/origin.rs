//! Which web pages may open a WebSocket (api.md section 4): none at all, those of this very host, those on this machine,
//! and those that `DTVN_WS_ORIGINS` lists. A browser sends cookies and reaches loopback addresses for any page, and does
//! not ask before it opens a WebSocket, so the server must.

use actix_web::HttpRequest;
use actix_web::http::Uri;
use actix_web::http::header::{HOST, ORIGIN};
use dtvn_messages::Reason;

use crate::http::problem::Refusal;

/// Checks the origin of the page that opens a WebSocket, or asks for more than to read.
pub(in crate::http) fn check(request: &HttpRequest, further: &[String]) -> Result<(), Refusal> {
    let headers = request.headers();
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if is_allowed(origin, host, further) {
        Ok(())
    } else {
        let detail =
            "pages of this origin may not listen or change anything here: add it to DTVN_WS_ORIGINS if they should";
        Err(Refusal::new(Reason::NotPermitted, detail))
    }
}

/// Checks the origin of the page that asks for more than to read: a browser sends it to any address for any page, and
/// only keeps the answer from that page.
pub(in crate::http) fn check_change(request: &HttpRequest, further: &[String]) -> Result<(), Refusal> {
    if request.method().is_safe() { Ok(()) } else { check(request, further) }
}

fn is_allowed(origin: &str, host: &str, further: &[String]) -> bool {
    let same = |listed: &String| listed.trim().trim_end_matches('/').eq_ignore_ascii_case(origin);
    if further.iter().any(same) {
        return true;
    }
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let Some(authority) = uri.authority().filter(|authority| is_web && !authority.as_str().contains('@')) else {
        return false;
    };
    let is_local = matches!(authority.host().to_ascii_lowercase().as_str(), "localhost" | "127.0.0.1" | "[::1]");
    is_local || authority.as_str().eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_host_of_this_machine_and_of_the_list_are_allowed() {
        let listed = ["https://gate.example".to_owned(), "https://desk.example:8443/".to_owned()];
        for (origin, allowed) in [
            ("http://node.example:8081", true),
            ("HTTP://NODE.example:8081", true),
            ("http://localhost:3000", true),
            ("http://127.0.0.1:5173", true),
            ("http://[::1]:5173", true),
            ("https://gate.example", true),
            ("https://desk.example:8443", true),
            ("http://node.example", false),
            ("http://node.example:8082", false),
            ("http://gate.example", false),
            ("https://gate.example.evil.example", false),
            ("https://evil.example", false),
            ("http://localhost.evil.example", false),
            ("http://localhost@evil.example", false),
            ("http://127.0.0.1.evil.example", false),
            ("null", false),
            ("file://", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(origin, "node.example:8081", &listed), allowed, "{origin:?}");
        }
    }
}
