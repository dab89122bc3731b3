// Why events end as dead letters and why a replay leaves one out, in words. The API says what to do in English.
import { lang, t } from "./state.js";

export const REASONS = ["malformed", "invalid", "unmapped_event", "unknown_account", "conflict", "rejected", "expired", "attempts_exhausted", "unknown_outcome", "quarantined"];

const ZH = {
  malformed: ["无法从字节还原事件", "修复生产者并重新发布。这些字节不会重放。"],
  invalid: ["违反信封或平台的规则", "事件有误：在生产者处修正字段，以相同 trans_id 重新发布。设置有误：修正后重放。"],
  unmapped_event: ["平台或产品线没有此类事件的代码", "在 accounts.NAME.map 中映射，或由生产者给出 platform_event，然后重放。"],
  unknown_account: ["平台或账户未配置、不匹配或已停用", "配置或启用账户，或在生产者处修正，然后重放。"],
  conflict: ["相同 trans_id 曾有不同的订单、金额、退款或币种", "向生产者确认正确金额。平台以第一次为准；更正需要新的 trans_id。不会重放。"],
  rejected: ["平台明确拒绝", "在平台文档中查代码，修正事件或账户后重放。"],
  expired: ["已超过期限、自然日或重试时间", "查明延误原因（受阻分区、暂停或停用的账户、生产者）。原因仍在时重放会被拒绝。"],
  attempts_exhausted: ["所有允许的尝试都失败", "平台一直失败或无法连接，恢复后即可重放。"],
  unknown_outcome: ["可能已被接受：没有收到应答", "请在平台查询。仅在确认未到达时强制重放，否则金额可能计两次。"],
  quarantined: ["有无法读取的消息头", "修复消息头名称（UTF-8）。可以重放。"],
};

export const meaning = (reason, english) => (lang.value === "zh" ? ZH[reason]?.[0] : english) ?? english ?? "";
export const advice = (reason, english) => (lang.value === "zh" ? ZH[reason]?.[1] : english) ?? english ?? "";

// Why a replay leaves a dead letter out: skipped or refused, by cause.
const CAUSES = {
  confirmed: ["delivered meanwhile", "期间已送达"], replayed: ["replayed by another run", "已被其他重放处理"],
  discarded: ["discarded meanwhile", "期间已放弃"], conflict: ["conflict: never replayed", "冲突：不重放"],
  malformed: ["malformed: never replayed", "格式错误：不重放"], truncated: ["only a hash of it is left", "只剩哈希"],
  three_replays: ["replayed three times already", "已重放三次"], past_window: ["older than the dedupe window", "超出去重窗口"],
  unknown_outcome: ["may have arrived already", "可能已送达"], natural_day: ["its natural day is over", "自然日已结束"],
  predicted: ["would be refused again", "预计会再次被拒"],
};
export const cause = (name) => { const of = CAUSES[name]; return of ? t(...of) : name; };
