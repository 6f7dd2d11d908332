//! `tessera client explain`

use reqwest::Method;
use serde_json::{Value, json};

use crate::operator::{Operator, encoded};
use crate::print;

async fn explain_request(operator: &Operator, url: &str) -> Result<(), String> {
    let body = json!({ "url": url });
    let answer = operator.call(Method::POST, "/admin/authorization-checks", Some(body)).await?;
    let items = answer["items"].as_array().cloned().unwrap_or_default();
    if operator.prints_json() {
        print::line(json!(items));
        return Ok(());
    }
    for check in &items {
        let text = |member: &str| print::text(&check[member]);
        if check["passes"] == json!(true) {
            let effect = Some(text("effect")).filter(|effect| !effect.is_empty());
            let effect = effect.map(|effect| format!(" ({effect})")).unwrap_or_default();
            print::line(format!("{}: ok{effect}", text("check")));
            continue;
        }
        print::line(format!("{}: {} ({})", text("check"), text("sentence"), text("refusal")));
        for member in ["expected", "came", "remedy"] {
            if check[member].is_string() {
                print::line(format!("  {member}: {}", text(member)));
            }
        }
    }
    let refused = items.iter().filter(|check| check["passes"] != json!(true)).count();
    print::line(match refused {
        0 => "No check refuses the request.".to_owned(),
        1 => "1 check refuses the request.".to_owned(),
        _ => format!(
            "{refused} checks refuse the request. Somebody who sends it sees only the first refusal."
        ),
    });
    Ok(())
}

/// Prints why requests of an application were refused, or the checks of one request.
pub(crate) async fn explain(
    operator: &Operator,
    name: Option<&str>,
    request: Option<String>,
) -> Result<(), String> {
    if let Some(url) = request {
        return explain_request(operator, &url).await;
    }
    let path = |member: &str, name: &str| format!("/admin/refusals?{member}={}", encoded(name));
    let mut is_client = true;
    let answer = match name {
        None => operator.call(Method::GET, "/admin/refusals", None).await?,
        // A client id is tried first: no reference looks like one that an operator chose.
        Some(name) => match operator.call(Method::GET, &path("client_id", name), None).await {
            Err(refused) if refused.is_missing() => {
                is_client = false;
                operator.call(Method::GET, &path("reference", name), None).await?
            }
            answer => answer?,
        },
    };
    let items = answer["items"].as_array().cloned().unwrap_or_default();
    if operator.prints_json() {
        print::line(json!(items));
    } else if items.is_empty() {
        let none = "No request was refused in the last 30 days.";
        print::line(match name {
            Some(name) if !is_client => format!(
                "There is no client {name}, and no refusal with this reference. A request's id finds a refusal only until \
                 an equal one: then see the refusals of the client with `tessera client explain NAME`."
            ),
            _ => none.to_owned(),
        });
    }
    if !operator.prints_json() {
        print_refusals(&items);
    }
    Ok(())
}

fn print_refusals(items: &[Value]) {
    for refusal in items {
        let text = |member: &str| print::text(&refusal[member]);
        let (count, last) = (text("count"), print::time(&refusal["last"]));
        print::line(format!("{} ({}, {})", text("name"), text("error"), text("endpoint")));
        print::line(format!(
            "  count: {count}, the last at {last}, reference {}, request {}",
            text("reference"),
            text("request")
        ));
        for member in ["expected", "came", "remedy"] {
            if refusal[member].is_string() {
                print::line(format!("  {member}: {}", text(member)));
            }
        }
    }
}
