//! The commands that ask a running Larder: `purge`, `purges`, `inspect`, `stat`.

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value as Json, json};

use super::arguments::{PurgeArguments, Reach, RemoteCommand};
use super::client::Client;
use super::{Exit, fail, print, table};

/// One request of the admin interface's.
struct Question {
    method: Method,
    target: String,
    body: Option<Json>,
}

/// Asks, and prints the answer.
pub(super) fn run(command: RemoteCommand) -> Exit {
    let (question, reach, last) = match command {
        RemoteCommand::Purge(purge) => (purge_question(&purge), purge.reach, None),
        RemoteCommand::Purges(purges) => (get("/v1/purges"), purges.reach, purges.last),
        RemoteCommand::Inspect(inspect) => {
            let url = utf8_percent_encode(&inspect.url, NON_ALPHANUMERIC);
            (get(&format!("/v1/inspect?url={url}")), inspect.reach, None)
        }
        RemoteCommand::Stat(stat) => (get("/v1/stat"), stat.reach, None),
    };
    let answer = match ask(&question, &reach) {
        Ok(mut answer) => {
            if let Some(last) = last {
                keep_last(&mut answer, last);
            }
            answer
        }
        Err(message) => return fail(&message),
    };
    if !reach.json {
        return print(&table::render(&answer));
    }
    match serde_json::to_string_pretty(&answer) {
        Ok(text) => print(&format!("{text}\n")),
        Err(error) => fail(&error.to_string()),
    }
}

fn get(target: &str) -> Question {
    Question { method: Method::GET, target: target.to_string(), body: None }
}

fn purge_question(purge: &PurgeArguments) -> Question {
    let mut body = json!({
        "urls": purge.urls,
        "tags": purge.tags,
        "prefixes": purge.prefixes,
        "hosts": purge.hosts,
        "expression": purge.expression.as_deref().unwrap_or_default(),
        "everything": purge.everything,
        "soft": purge.soft,
        "refetch": purge.refetch,
    });
    if let (Some(wait), Some(body)) = (&purge.wait, body.as_object_mut()) {
        body.insert("wait".to_string(), json!(wait));
    }
    Question { method: Method::POST, target: "/v1/purge".to_string(), body: Some(body) }
}

fn ask(question: &Question, reach: &Reach) -> Result<Json, String> {
    let client = Client { address: reach.admin.clone(), token: reach.token.clone(), timeout: reach.timeout };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let exchange = client.ask(question.method.clone(), &question.target, question.body.as_ref());
    runtime.block_on(exchange).map_err(|error| error.to_string())
}

/// Leaves the last `number` members of the answer's list, which is the answer itself or one of its fields.
fn keep_last(answer: &mut Json, number: usize) {
    let list = match answer {
        Json::Object(object) => object.values_mut().find_map(Json::as_array_mut),
        other => other.as_array_mut(),
    };
    if let Some(list) = list {
        list.drain(..list.len().saturating_sub(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entries_of_a_list_are_kept() {
        let mut answer = json!({"head": 3, "purges": [1, 2, 3]});
        keep_last(&mut answer, 2);
        assert_eq!(answer, json!({"head": 3, "purges": [2, 3]}));
        keep_last(&mut answer, 9);
        assert_eq!(answer["purges"], json!([2, 3]));
    }
}
