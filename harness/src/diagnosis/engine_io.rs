//! Socket.IO, which is told the token in a packet of its own and greets everybody before.

use crate::profile::Profile;
use crate::target::Target;

/// What to write for such a server.
pub(super) const ADVICE: &str = "this is Socket.IO, which is told the token in its CONNECT packet: run with \
                                 `--profile socket-io`, or write `extends: socket-io` into a profile";

/// What to add where a server cuts every opening, in case it is one: Engine.IO does so on a path that is not its own.
pub(super) const ELSEWHERE: &str = ". Socket.IO cuts a client on a foreign path: if it is that, its path is /socket.io/, and `--profile socket-io` knows the rest";

/// What a profile lacks for the server whose first message was this.
pub fn greeted(target: &Target, greeting: &str) -> Option<String> {
    (is_greeting(greeting) && !is_known(&target.profile)).then(|| ADVICE.to_owned())
}

/// The same by the path of the URL alone, which is a guess.
pub fn at_path(target: &Target) -> Option<String> {
    let url = &target.endpoint;
    if !url.path.starts_with("/socket.io") {
        return None;
    }
    let has = |pair: &str| url.query.split('&').any(|own| own == pair);
    let advice = (!is_known(&target.profile)).then(|| format!("by its path {ADVICE}"));
    let whole = (!has("transport=websocket") || !url.query.contains("EIO=")).then(|| {
        let scheme = if url.tls { "wss" } else { "ws" };
        format!("its URL is {scheme}://{}:{}/socket.io/?EIO=4&transport=websocket", url.host, url.port)
    });
    match (advice, whole) {
        (None, None) => None,
        (advice, whole) => Some([advice, whole].into_iter().flatten().collect::<Vec<_>>().join("; ")),
    }
}

/// Whether the profile tells the token in a CONNECT packet (`40`).
fn is_known(profile: &Profile) -> bool {
    profile.first_message().is_some_and(|first| first.send.starts_with("40"))
}

/// Whether a text is the packet by which Engine.IO opens a session, with or without a token.
pub(super) fn is_greeting(text: &str) -> bool {
    text.starts_with("0{") && text.contains("\"sid\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, preset: Option<&str>) -> Target {
        let profile = preset.map(|name| Profile::preset(name).expect("a preset")).unwrap_or_default();
        Target::from_profile(Profile { url: Some(url.to_owned()), secret: Some("x".repeat(40)), ..profile })
            .expect("a target")
    }

    #[test]
    fn it_is_known_by_its_greeting_or_its_path_until_the_profile_knows_it() {
        let greeting = r#"0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;
        let url = "ws://127.0.0.1:3000/socket.io/?EIO=4&transport=websocket";
        let plain = target(url, None);
        assert!(greeted(&plain, greeting).is_some_and(|advice| advice.contains("--profile socket-io")));
        assert_eq!(greeted(&plain, "hello"), None);
        assert!(at_path(&plain).is_some_and(|advice| !advice.contains("its URL is")));
        let known = target(url, Some("socket-io"));
        assert_eq!((greeted(&known, greeting), at_path(&known)), (None, None));
        let bare = target("ws://127.0.0.1:3000/socket.io/", Some("socket-io"));
        assert_eq!(at_path(&bare).as_deref(), Some(format!("its URL is {url}").as_str()));
        assert_eq!(at_path(&target("ws://127.0.0.1:3000/ws", None)), None);
    }
}
