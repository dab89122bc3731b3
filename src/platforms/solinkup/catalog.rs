//! The ten calls: their names, paths and common parameters (SPEC 4.4).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
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

/// A parameter that the platform's text wants with every call; the signature is not one of them, as it travels in a
/// header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Common {
    Method,
    AppKey,
    AccessToken,
    Timestamp,
    Version,
    SignMethod,
}

impl Common {
    /// In the order of the platform's table, which is the order in the body.
    pub(super) const ALL: [Common; 6] =
        [Common::Method, Common::AppKey, Common::AccessToken, Common::Timestamp, Common::Version, Common::SignMethod];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Common::Method => "method",
            Common::AppKey => "appKey",
            Common::AccessToken => "accessToken",
            Common::Timestamp => "timestamp",
            Common::Version => "version",
            Common::SignMethod => "signMethod",
        }
    }

    pub(super) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|common| common.as_str() == text)
    }
}

/// What belongs to the ways of the platform, not to ours: which rules its answers follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// The platform's own: an envelope with `success`.
    Open,
    /// 抖店 behind it.
    Doudian,
    /// 巨量千川 behind it.
    Qianchuan,
}

impl Name {
    pub(super) const ALL: [Name; 10] = [
        Name::TokenGet,
        Name::TokenRefresh,
        Name::TemplateList,
        Name::DeleteFlows,
        Name::AuthInfo,
        Name::OrderList,
        Name::OrderDetail,
        Name::Decrypt,
        Name::AdvertiserReport,
        Name::AdReport,
    ];

    /// As events, configuration and results call it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Name::TokenGet => "token.get",
            Name::TokenRefresh => "token.refresh",
            Name::TemplateList => "template.list",
            Name::DeleteFlows => "template.delete_flows",
            Name::AuthInfo => "doudian.auth_info",
            Name::OrderList => "doudian.order_list",
            Name::OrderDetail => "doudian.order_detail",
            Name::Decrypt => "doudian.decrypt",
            Name::AdvertiserReport => "qianchuan.advertiser_report",
            Name::AdReport => "qianchuan.ad_report",
        }
    }

    /// The call of this name; those for tokens are no event's business and are not found.
    pub(super) fn callable(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text && !name.is_token())
    }

    pub(super) fn is_token(self) -> bool {
        matches!(self, Name::TokenGet | Name::TokenRefresh)
    }

    pub(super) fn is_trigger(self) -> bool {
        self.family() != Family::Open || self == Name::AuthInfo
    }

    pub(super) fn family(self) -> Family {
        match self {
            Name::TokenGet | Name::TokenRefresh | Name::TemplateList | Name::DeleteFlows | Name::AuthInfo => {
                Family::Open
            }
            Name::OrderList | Name::OrderDetail | Name::Decrypt => Family::Doudian,
            Name::AdvertiserReport | Name::AdReport => Family::Qianchuan,
        }
    }

    /// What it changes cannot be taken back.
    pub(super) fn is_destructive(self) -> bool {
        self == Name::DeleteFlows
    }

    /// The value of `method`; `None`: the platform states none.
    pub(super) fn method(self) -> Option<&'static str> {
        match self {
            Name::TokenGet => Some("getAccessToken"),
            Name::TokenRefresh => Some("refreshAccessToken"),
            Name::TemplateList => None,
            Name::DeleteFlows => Some("deleteFlowByParentTemplateId"),
            Name::AuthInfo => Some("getAuthInfo"),
            Name::OrderList => Some("listOrder"),
            Name::OrderDetail => Some("detailOrder"),
            Name::Decrypt => Some("batchDecrypts"),
            Name::AdvertiserReport => Some("getAdvertiser"),
            Name::AdReport => Some("getReportAd"),
        }
    }

    /// The common parameters of its example. `signMethod` is for trigger calls alone (SPEC section 12, 38).
    pub(super) fn usual_common(self) -> &'static [Common] {
        match self {
            Name::TokenGet | Name::TokenRefresh => {
                &[Common::Method, Common::AppKey, Common::Timestamp, Common::Version]
            }
            Name::TemplateList | Name::DeleteFlows => &[Common::AppKey, Common::Timestamp, Common::Version],
            _ => &Common::ALL,
        }
    }

    /// Its path, with the ids in it percent-encoded.
    pub(super) fn path(self, app_key: &str, open_id: &str) -> String {
        let segment = |id: &str| utf8_percent_encode(id, SEGMENT).to_string();
        let trigger = |of: &str, method: &str| format!("/trigger/api/{of}/{method}/{}", segment(open_id));
        match self {
            Name::TokenGet => "/openapi/oauth2/getAccessToken".into(),
            Name::TokenRefresh => "/openapi/oauth2/refreshAccessToken".into(),
            Name::TemplateList => format!("/openapi/oauth2/{}/template/list", segment(app_key)),
            Name::DeleteFlows => "/openapi/oauth2/deleteFlowByParentTemplateId".into(),
            Name::AuthInfo => trigger("jinritemai", "getAuthInfo"),
            Name::OrderList => trigger("jinritemai", "listOrder"),
            Name::OrderDetail => trigger("jinritemai", "detailOrder"),
            Name::Decrypt => trigger("jinritemai", "batchDecrypts"),
            Name::AdvertiserReport => trigger("juliangqianchuan", "getAdvertiser"),
            Name::AdReport => trigger("juliangqianchuan", "getReportAd"),
        }
    }
}
