//! The description of the public API: OpenAPI 3.1, made from the handlers, served at `/api/v1/openapi.json`.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::web::Bytes;
use dtvn_client::api::{Event, Health, PROBLEM_JSON, Problem};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{self, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::routes::API;
use super::{catalogue, chain, events, info, metrics, operations, receipts, tickets, validators};

/// The whole description.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "DTVN",
        description = "A network of validators that agree on what happened to every ticket. Any node takes any request. \
                       Every refusal is an RFC 9457 problem with a `reason` from a closed list; an operation with the \
                       same idempotency key happens once, whichever node it is sent to."
    ),
    paths(
        tickets::list, operations::issue, operations::validate, operations::consume, operations::dispute,
        operations::seed, tickets::get, tickets::history, operations::batch, operations::status, catalogue::list,
        catalogue::get, events::give_pass, info::status, info::stats, info::peers, info::config, chain::logs,
        chain::blocks, chain::block, chain::evidence, chain::epochs, validators::get, validators::change, info::genesis, info::crypto, info::storage, chain::sequence,
        receipts::proof, receipts::checkpoint, receipts::trust_policy, receipts::tile, document, info::health, metrics::public, events::listen,
    ),
    components(schemas(Problem, Event, Health)),
    modifiers(&Everywhere)
)]
struct Description;

/// What holds for all routes: refusals are problems, and all below [`API`] ask for the key, if the node has one.
struct Everywhere;

impl Modify for Everywhere {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let refused = ResponseBuilder::new().description("A refusal").content(PROBLEM_JSON, problem).build();
        for (path, item) in &mut document.paths.paths {
            let security = (path.starts_with(API) || path == "/metrics").then(|| {
                ["api_key", "bearer"].map(|name| SecurityRequirement::new(name, Vec::<String>::new())).to_vec()
            });
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                operation.responses.responses.insert("default".to_owned(), refused.clone().into());
                operation.security.clone_from(&security);
            }
        }
        let components = document.components.get_or_insert_default();
        let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
        components.add_security_scheme("api_key", key);
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    // The description is plain data: its encoding cannot fail.
    Bytes::from(serde_json::to_vec_pretty(&Description::openapi()).unwrap_or_default())
});

#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "node",
    responses((status = 200, description = "This document", body = Object)))]
/// The description of this API.
pub(super) async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use actix_web::App;
    use serde_json::Value;

    use super::*;
    use crate::http::routes;

    fn described() -> Value {
        serde_json::from_slice(&DOCUMENT).unwrap()
    }

    #[test]
    fn every_route_is_described_and_every_description_is_a_route() {
        let mut registered = BTreeSet::new();
        let _app = App::new()
            .configure(|config| {
                registered.extend(routes::open(config).iter().map(|(path, method)| format!("{method} {path}")));
            })
            .configure(|config| {
                registered.extend(routes::api(config).iter().map(|(path, method)| format!("{method} {API}{path}")));
            });
        let document = described();
        let paths = document["paths"].as_object().unwrap();
        let methods = |(path, item): (&String, &Value)| -> Vec<String> {
            item.as_object().unwrap().keys().map(|method| format!("{method} {path}")).collect()
        };
        let described: BTreeSet<String> = paths.iter().flat_map(methods).collect();
        assert_eq!(described, registered);
    }

    #[test]
    fn every_schema_that_is_referred_to_is_there() {
        let document = described();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
        let text = document.to_string();
        let mut count = 0;
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name} is nowhere");
            count += 1;
        }
        assert!(count > 40, "{count} references");
    }

    #[test]
    fn every_parameter_in_a_path_is_described() {
        let document = described();
        for (path, item) in document["paths"].as_object().unwrap() {
            let wanted: BTreeSet<&str> =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            for (method, operation) in item.as_object().unwrap() {
                let none = Vec::new();
                let parameters = operation["parameters"].as_array().unwrap_or(&none);
                let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
                let found: BTreeSet<&str> = in_path.map(|parameter| parameter["name"].as_str().unwrap()).collect();
                assert_eq!(found, wanted, "{method} {path}");
                let is_guarded = path.starts_with(API) || path == "/metrics";
                assert_eq!(operation["security"].is_array(), is_guarded, "{method} {path}");
                assert!(operation["responses"]["default"].is_object(), "{method} {path}");
                let words = operation["summary"].as_str().unwrap_or_default();
                assert!(words.ends_with('.'), "{method} {path} is not described: {words:?}");
            }
        }
    }
}
