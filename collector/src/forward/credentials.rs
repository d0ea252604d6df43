//! The `Authorization` header of requests to a target.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderValue;

use crate::config::{RemoteWriteTarget, Secret};

/// The header's value, or none. Files are read each time, so that a rotated secret is used at once.
pub(super) async fn authorization(target: &RemoteWriteTarget) -> Result<Option<HeaderValue>, String> {
    let text = if let Some(basic) = &target.basic_auth {
        let password = secret(basic.password.as_ref(), basic.password_file.as_deref()).await?;
        format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{password}", basic.username)))
    } else if let Some(auth) = &target.authorization {
        format!(
            "{} {}",
            auth.scheme,
            secret(auth.credentials.as_ref(), auth.credentials_file.as_deref()).await?
        )
    } else {
        return Ok(None);
    };
    let mut value =
        HeaderValue::from_str(&text).map_err(|_| "credentials do not fit into a header".to_string())?;
    value.set_sensitive(true);
    Ok(Some(value))
}

async fn secret(given: Option<&Secret>, file: Option<&Path>) -> Result<String, String> {
    match (given, file) {
        (Some(given), _) => Ok(given.expose().into()),
        (None, Some(file)) => match tokio::fs::read_to_string(file).await {
            Ok(text) => Ok(text.trim().into()),
            Err(error) => Err(format!("cannot read {}: {error}", file.display())),
        },
        (None, None) => Ok(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Authorization, BasicAuth};

    async fn value(target: &RemoteWriteTarget) -> Result<Option<String>, String> {
        Ok(authorization(target).await?.map(|value| value.to_str().unwrap().into()))
    }

    #[tokio::test]
    async fn all_ways_of_giving_credentials() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        std::fs::write(&file, "pass\n").unwrap();
        let plain: RemoteWriteTarget = "http://h/w".parse().unwrap();
        assert_eq!(value(&plain).await, Ok(None));
        let basic =
            BasicAuth { username: "user".into(), password_file: Some(file.clone()), ..BasicAuth::default() };
        let target = RemoteWriteTarget { basic_auth: Some(basic), ..plain.clone() };
        assert_eq!(value(&target).await, Ok(Some("Basic dXNlcjpwYXNz".into())));
        let bearer = Authorization {
            scheme: "Bearer".into(),
            credentials: Some(Secret::new("t")),
            credentials_file: None,
        };
        let target = RemoteWriteTarget { authorization: Some(bearer), ..plain };
        assert_eq!(value(&target).await, Ok(Some("Bearer t".into())));
    }
}
