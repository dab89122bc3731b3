//! `call.NAME.common_params`: the platform's text wants all common parameters with every call, its examples leave some
//! out (A17).

use serde::{Deserialize, Serialize};

use crate::platforms::solinkup::catalog::{Common, Name};

/// `call`, by the two halves of a call's name.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct CallKeys {
    pub token: Token,
    pub template: Template,
    pub doudian: Doudian,
    pub qianchuan: Qianchuan,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Token {
    pub get: Keys,
    pub refresh: Keys,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Template {
    pub list: Keys,
    pub delete_flows: Keys,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Doudian {
    pub auth_info: Keys,
    pub order_list: Keys,
    pub order_detail: Keys,
    pub decrypt: Keys,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Qianchuan {
    pub advertiser_report: Keys,
    pub ad_report: Keys,
}

/// The keys of one call.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Keys {
    /// The common parameters in its body; absent: those of the platform's example.
    pub common_params: Option<Vec<String>>,
}

impl CallKeys {
    fn of(&self, call: Name) -> &Keys {
        match call {
            Name::TokenGet => &self.token.get,
            Name::TokenRefresh => &self.token.refresh,
            Name::TemplateList => &self.template.list,
            Name::DeleteFlows => &self.template.delete_flows,
            Name::AuthInfo => &self.doudian.auth_info,
            Name::OrderList => &self.doudian.order_list,
            Name::OrderDetail => &self.doudian.order_detail,
            Name::Decrypt => &self.doudian.decrypt,
            Name::AdvertiserReport => &self.qianchuan.advertiser_report,
            Name::AdReport => &self.qianchuan.ad_report,
        }
    }

    /// The calls whose common parameters are stated.
    pub(super) fn check(&self, wrong: &mut impl FnMut(&str, String)) -> Vec<(Name, Vec<Common>)> {
        let mut all = Vec::new();
        for call in Name::ALL {
            let Some(names) = &self.of(call).common_params else { continue };
            let key = format!("call.{}.common_params", call.as_str());
            let mut stated = Vec::new();
            for name in names {
                match Common::of(name) {
                    None => {
                        let known = Common::ALL.map(Common::as_str).join(", ");
                        wrong(&key, format!("{name:?} is none of {known}"));
                    }
                    Some(Common::AccessToken) if call.is_token() => {
                        wrong(&key, "cannot hold accessToken: the call is what gets one".into());
                    }
                    Some(Common::Method) if call.method().is_none() => {
                        wrong(&key, format!("cannot hold method: the platform states none for {}", call.as_str()));
                    }
                    Some(common) => stated.push(common),
                }
            }
            all.push((call, stated));
        }
        all
    }
}
