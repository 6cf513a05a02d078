//! What a server says at first: is its word a proof that the token was accepted, or a greeting for everybody, and is its
//! answer the one that the profile declares?

use super::{Cause, Finding, engine_io};
use crate::outcome::{Outcome, Proof};
use crate::profile::{Echo, Profile, Shape};

/// Whether a message of the server, or its answer to a ping, is all that can show that a client is served: its profile says
/// nothing of what an admitted client is sent, and it was not seen to answer either. `control` is what came of the valid
/// token.
pub fn tells_by_greeting(control: &Outcome, profile: &Profile, answers: bool) -> bool {
    matches!(control, Outcome::Admitted(_)) && !answers && !profile.speaks() && profile.first_message().is_none()
}

/// What it means that a client without a token came to `bare` at such a target, where the valid token came to `control` and
/// was sent `greeting`. `None` where the two were told apart.
pub fn greets_anybody(control: &Outcome, bare: &Outcome, greeting: &str) -> Option<Finding> {
    let what = match (control, bare) {
        (Outcome::Admitted(_), Outcome::Admitted(Proof::Message)) => "a message",
        // Any WebSocket library answers a ping, whoever is asked.
        (Outcome::Admitted(Proof::Pong), Outcome::Admitted(Proof::Pong)) => "a pong",
        _ => return None,
    };
    let advice = if engine_io::is_greeting(greeting) {
        engine_io::ADVICE.to_owned()
    } else {
        "either the token is told after the upgrade, in a first message: say so with --carrier, or `carriers`, and \
         `gatecrash probe` finds the usual ones; or the gate is open: declare in `welcome` or `echo` what only an \
         admitted client is sent, and it will be judged"
            .to_owned()
    };
    let observed = format!("the same to a client without a token: {what} after the 101");
    Some(Finding { cause: Cause::Greeting, observed, advice })
}

/// What it means that a word was answered by `text`, which is of this `shape`, where the profile declares another.
pub fn echoes_otherwise(declared: &Echo, word: &str, text: &str, shape: &Shape) -> Finding {
    let yaml = |shape: &Shape| serde_json::to_string(shape).unwrap_or_default();
    let observed = format!("\"{}\" was answered by \"{}\"", declared.compose(word).escape_debug(), text.escape_debug());
    let advice = format!(
        "the valid token is admitted, but the answer is not what `echo` in the profile declares: if the server is right, \
         write `reply: {}` there in the place of `{}`",
        yaml(shape),
        yaml(&declared.reply)
    );
    Finding { cause: Cause::Echo, observed, advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREETED: Outcome = Outcome::Admitted(Proof::Message);

    #[test]
    fn a_message_proves_nothing_where_everybody_is_sent_one() {
        assert!(tells_by_greeting(&GREETED, &Profile::default(), false));
        let found = greets_anybody(&GREETED, &GREETED, "hello").expect("a finding");
        assert!(found.advice.contains("first message") && found.advice.contains("`welcome`"), "{}", found.advice);
        let engine_io = r#"0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;
        assert!(
            greets_anybody(&GREETED, &GREETED, engine_io).expect("a finding").advice.contains("extends: socket-io")
        );
    }

    #[test]
    fn an_echo_of_another_shape_is_told_as_it_is_written_in_a_profile() {
        let shape = |text: &str| Shape::Text(text.to_owned());
        let echo = Echo { send: "say {message}".to_owned(), reply: shape("{message}!"), broadcast: false };
        let found = echoes_otherwise(&echo, "gc1", "Echo: gc1", &shape("Echo: {message}"));
        assert_eq!(found.observed, r#""say gc1" was answered by "Echo: gc1""#);
        assert!(found.advice.contains(r#"`reply: {"text":"Echo: {message}"}`"#), "{}", found.advice);
        let json = Shape::around(r#"{"data":{"text":"gc1"}}"#, "gc1").expect("a shape");
        let found = echoes_otherwise(&echo, "gc1", "", &json);
        assert!(found.advice.contains(r#"`reply: {"json":{"/data/text":"{message}"}}`"#), "{}", found.advice);
    }

    #[test]
    fn it_is_believed_where_it_was_promised_or_the_two_are_told_apart() {
        let welcomes = Profile { welcome: Some(Shape::Text("hello".to_owned())), ..Profile::default() };
        assert!(!tells_by_greeting(&GREETED, &welcomes, false));
        assert!(!tells_by_greeting(&GREETED, &Profile::default(), true));
        for bare in [Outcome::RefusedHttp(401), Outcome::Admitted(Proof::Pong), Outcome::Limbo] {
            assert_eq!(greets_anybody(&GREETED, &bare, "hello"), None, "{bare}");
        }
    }

    #[test]
    fn a_pong_proves_nothing_where_everybody_gets_one() {
        let pong = Outcome::Admitted(Proof::Pong);
        assert!(tells_by_greeting(&pong, &Profile::default(), false));
        let found = greets_anybody(&pong, &pong, "").expect("a finding");
        assert!(found.observed.contains("a pong") && found.advice.contains("gatecrash probe"), "{found:?}");
        assert_eq!(greets_anybody(&pong, &Outcome::RefusedHttp(401), ""), None);
    }
}
