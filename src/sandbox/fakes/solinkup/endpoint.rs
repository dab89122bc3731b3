//! The endpoints of 数环通.

use percent_encoding::percent_decode_str;

/// The endpoints, by the name that events have for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    TokenGet,
    TokenRefresh,
    TemplateList,
    DeleteFlows,
    AuthInfo,
    OrderList,
    OrderDetail,
    Decrypt,
    AdvertiserReport,
    AdReport,
}

impl Endpoint {
    /// The endpoint at a path, and the id that stands in it.
    pub(super) fn of(path: &str) -> Option<(Endpoint, Option<String>)> {
        let steps: Vec<_> = path.strip_prefix('/')?.split('/').collect();
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|id| id.into_owned());
        Some(match steps.as_slice() {
            ["openapi", "oauth2", "getAccessToken"] => (Endpoint::TokenGet, None),
            ["openapi", "oauth2", "refreshAccessToken"] => (Endpoint::TokenRefresh, None),
            ["openapi", "oauth2", "deleteFlowByParentTemplateId"] => (Endpoint::DeleteFlows, None),
            ["openapi", "oauth2", key, "template", "list"] => (Endpoint::TemplateList, decoded(key)),
            ["trigger", "api", of, method, open_id] => {
                let endpoint = match (*of, *method) {
                    ("jinritemai", "getAuthInfo") => Endpoint::AuthInfo,
                    ("jinritemai", "listOrder") => Endpoint::OrderList,
                    ("jinritemai", "detailOrder") => Endpoint::OrderDetail,
                    ("jinritemai", "batchDecrypts") => Endpoint::Decrypt,
                    ("juliangqianchuan", "getAdvertiser") => Endpoint::AdvertiserReport,
                    ("juliangqianchuan", "getReportAd") => Endpoint::AdReport,
                    _ => return None,
                };
                (endpoint, decoded(open_id))
            }
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Endpoint::TokenGet => "token.get",
            Endpoint::TokenRefresh => "token.refresh",
            Endpoint::TemplateList => "template.list",
            Endpoint::DeleteFlows => "template.delete_flows",
            Endpoint::AuthInfo => "doudian.auth_info",
            Endpoint::OrderList => "doudian.order_list",
            Endpoint::OrderDetail => "doudian.order_detail",
            Endpoint::Decrypt => "doudian.decrypt",
            Endpoint::AdvertiserReport => "qianchuan.advertiser_report",
            Endpoint::AdReport => "qianchuan.ad_report",
        }
    }

    pub(super) fn method(self) -> Option<&'static str> {
        Some(match self {
            Endpoint::TokenGet => "getAccessToken",
            Endpoint::TokenRefresh => "refreshAccessToken",
            Endpoint::TemplateList => return None,
            Endpoint::DeleteFlows => "deleteFlowByParentTemplateId",
            Endpoint::AuthInfo => "getAuthInfo",
            Endpoint::OrderList => "listOrder",
            Endpoint::OrderDetail => "detailOrder",
            Endpoint::Decrypt => "batchDecrypts",
            Endpoint::AdvertiserReport => "getAdvertiser",
            Endpoint::AdReport => "getReportAd",
        })
    }

    pub(super) fn is_trigger(self) -> bool {
        !matches!(self, Endpoint::TokenGet | Endpoint::TokenRefresh | Endpoint::TemplateList | Endpoint::DeleteFlows)
    }
}
