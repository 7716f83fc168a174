//! Compares stick tables with HAProxy's: tracking in every rule set, fetches and converters about
//! an entry, actions that change one, and the commands of the statistics socket.

use super::{Case, Family, Normal, WITH_SOCKET, case};

pub static FAMILY: Family = Family {
    global: WITH_SOCKET,
    cases: CASES,
    refused: &[
        "http-request track-sc0 src",
        "http-request track-sc0 src table none",
        "http-request track-sc3 src table samples",
        "http-request sc-inc-gpc0(3)",
        "stick-table type ip size 1k store gpc0,gpc(3)",
        "stick-table type ip size 1k store gpt0,gpt(3)",
        "stick-table type ip size 1k store gpc(101)",
        "stick-table type ip size 1k store http_req_rate",
        "stick-table type ip size 1k store nothing",
        "stick-table type ip",
        "stick-table type none size 1k",
        "stick-table type ip len 4 size 1k",
        "http-request deny if { src,in_table(none) }",
        "http-request deny if { src,table_gpc0 1 }",
    ],
    ..Family::named("stick_table")
};

const GET: &[u8] = b"GET /a?key=k1 HTTP/1.1\r\nHost: h\r\nX-Key: one\r\nConnection: close\r\n\r\n";
const OTHER: &[u8] =
    b"GET /b?key=k2 HTTP/1.1\r\nHost: h\r\nX-Key: two\r\nConnection: close\r\n\r\n";
const BROKEN: &[u8] = b"GET /b HTTP/1.1\r\nHo st: h\r\n\r\n";
const SHOW: &[u8] = b"@SOCKET@ show table @CASE@";
const ENTRIES: &[Normal] = &[Normal::Entries];

/// A table that stores all data types.
macro_rules! full {
    () => {
        "stick-table type ip size 100 expire 1h store server_id,conn_cnt,conn_cur,conn_rate(1h),sess_cnt,sess_rate(1h),http_req_cnt,http_req_rate(1h),http_err_cnt,http_err_rate(1h),http_fail_cnt,http_fail_rate(1h),bytes_in_cnt,bytes_in_rate(1h),bytes_out_cnt,bytes_out_rate(1h),gpc0,gpc0_rate(1h),gpc1,gpc1_rate(1h),gpt0\n"
    };
}

/// The values of some expressions in the body of a response.
macro_rules! says {
    ($($expression:literal)*) => {
        concat!(
            "http-request return status 200 content-type text/plain lf-string \"",
            $($expression, "=%[", $expression, "] ",)*
            "\"\n"
        )
    };
}

const SC_NAMES: &[&str] = &[
    "fetch sc_bytes_in_rate",
    "fetch sc_bytes_out_rate",
    "fetch sc_conn_cnt",
    "fetch sc_conn_cur",
    "fetch sc_conn_rate",
    "fetch sc_get_gpc0",
    "fetch sc_get_gpc1",
    "fetch sc_get_gpt0",
    "fetch sc_gpc0_rate",
    "fetch sc_gpc1_rate",
    "fetch sc_http_err_cnt",
    "fetch sc_http_err_rate",
    "fetch sc_http_fail_cnt",
    "fetch sc_http_fail_rate",
    "fetch sc_http_req_cnt",
    "fetch sc_http_req_rate",
    "fetch sc_kbytes_in",
    "fetch sc_kbytes_out",
    "fetch sc_sess_cnt",
    "fetch sc_sess_rate",
    "fetch sc_inc_gpc0",
    "fetch sc_inc_gpc1",
    "fetch sc_clr_gpc0",
    "fetch sc_clr_gpc1",
    "fetch sc_tracked",
    "fetch sc_trackers",
];
const SC: &str = concat!(
    "tcp-request connection track-sc0 src\n",
    full!(),
    says!("sc_bytes_in_rate(0)" "sc_bytes_out_rate(0)" "sc_conn_cnt(0)" "sc_conn_cur(0)" "sc_conn_rate(0)" "sc_get_gpc0(0)" "sc_get_gpc1(0)" "sc_get_gpt0(0)" "sc_gpc0_rate(0)" "sc_gpc1_rate(0)" "sc_http_err_cnt(0)" "sc_http_err_rate(0)" "sc_http_fail_cnt(0)" "sc_http_fail_rate(0)" "sc_http_req_cnt(0)" "sc_http_req_rate(0)" "sc_kbytes_in(0)" "sc_kbytes_out(0)" "sc_sess_cnt(0)" "sc_sess_rate(0)" "sc_inc_gpc0(0)" "sc_inc_gpc0(0)" "sc_inc_gpc1(0)" "sc_gpc0_rate(0)" "sc_gpc1_rate(0)" "sc_clr_gpc0(0)" "sc_clr_gpc1(0)" "sc_get_gpc0(0)" "sc_tracked(0)" "sc_trackers(0)")
);
const SC0_NAMES: &[&str] = &[
    "fetch sc0_bytes_in_rate",
    "fetch sc0_bytes_out_rate",
    "fetch sc0_conn_cnt",
    "fetch sc0_conn_cur",
    "fetch sc0_conn_rate",
    "fetch sc0_get_gpc0",
    "fetch sc0_get_gpc1",
    "fetch sc0_get_gpt0",
    "fetch sc0_gpc0_rate",
    "fetch sc0_gpc1_rate",
    "fetch sc0_http_err_cnt",
    "fetch sc0_http_err_rate",
    "fetch sc0_http_fail_cnt",
    "fetch sc0_http_fail_rate",
    "fetch sc0_http_req_cnt",
    "fetch sc0_http_req_rate",
    "fetch sc0_kbytes_in",
    "fetch sc0_kbytes_out",
    "fetch sc0_sess_cnt",
    "fetch sc0_sess_rate",
    "fetch sc0_inc_gpc0",
    "fetch sc0_inc_gpc1",
    "fetch sc0_clr_gpc0",
    "fetch sc0_clr_gpc1",
    "fetch sc0_tracked",
    "fetch sc0_trackers",
];
const SC0: &str = concat!(
    "tcp-request connection track-sc0 src\n",
    full!(),
    says!("sc0_bytes_in_rate" "sc0_bytes_out_rate" "sc0_conn_cnt" "sc0_conn_cur" "sc0_conn_rate" "sc0_get_gpc0" "sc0_get_gpc1" "sc0_get_gpt0" "sc0_gpc0_rate" "sc0_gpc1_rate" "sc0_http_err_cnt" "sc0_http_err_rate" "sc0_http_fail_cnt" "sc0_http_fail_rate" "sc0_http_req_cnt" "sc0_http_req_rate" "sc0_kbytes_in" "sc0_kbytes_out" "sc0_sess_cnt" "sc0_sess_rate" "sc0_inc_gpc0" "sc0_inc_gpc0" "sc0_inc_gpc1" "sc0_gpc0_rate" "sc0_gpc1_rate" "sc0_clr_gpc0" "sc0_clr_gpc1" "sc0_get_gpc0" "sc0_tracked" "sc0_trackers")
);
const SC1_NAMES: &[&str] = &[
    "fetch sc1_bytes_in_rate",
    "fetch sc1_bytes_out_rate",
    "fetch sc1_conn_cnt",
    "fetch sc1_conn_cur",
    "fetch sc1_conn_rate",
    "fetch sc1_get_gpc0",
    "fetch sc1_get_gpc1",
    "fetch sc1_get_gpt0",
    "fetch sc1_gpc0_rate",
    "fetch sc1_gpc1_rate",
    "fetch sc1_http_err_cnt",
    "fetch sc1_http_err_rate",
    "fetch sc1_http_fail_cnt",
    "fetch sc1_http_fail_rate",
    "fetch sc1_http_req_cnt",
    "fetch sc1_http_req_rate",
    "fetch sc1_kbytes_in",
    "fetch sc1_kbytes_out",
    "fetch sc1_sess_cnt",
    "fetch sc1_sess_rate",
    "fetch sc1_inc_gpc0",
    "fetch sc1_inc_gpc1",
    "fetch sc1_clr_gpc0",
    "fetch sc1_clr_gpc1",
    "fetch sc1_tracked",
    "fetch sc1_trackers",
];
const SC1: &str = concat!(
    "tcp-request connection track-sc1 src\n",
    full!(),
    says!("sc1_bytes_in_rate" "sc1_bytes_out_rate" "sc1_conn_cnt" "sc1_conn_cur" "sc1_conn_rate" "sc1_get_gpc0" "sc1_get_gpc1" "sc1_get_gpt0" "sc1_gpc0_rate" "sc1_gpc1_rate" "sc1_http_err_cnt" "sc1_http_err_rate" "sc1_http_fail_cnt" "sc1_http_fail_rate" "sc1_http_req_cnt" "sc1_http_req_rate" "sc1_kbytes_in" "sc1_kbytes_out" "sc1_sess_cnt" "sc1_sess_rate" "sc1_inc_gpc0" "sc1_inc_gpc0" "sc1_inc_gpc1" "sc1_gpc0_rate" "sc1_gpc1_rate" "sc1_clr_gpc0" "sc1_clr_gpc1" "sc1_get_gpc0" "sc1_tracked" "sc1_trackers")
);
const SC2_NAMES: &[&str] = &[
    "fetch sc2_bytes_in_rate",
    "fetch sc2_bytes_out_rate",
    "fetch sc2_conn_cnt",
    "fetch sc2_conn_cur",
    "fetch sc2_conn_rate",
    "fetch sc2_get_gpc0",
    "fetch sc2_get_gpc1",
    "fetch sc2_get_gpt0",
    "fetch sc2_gpc0_rate",
    "fetch sc2_gpc1_rate",
    "fetch sc2_http_err_cnt",
    "fetch sc2_http_err_rate",
    "fetch sc2_http_fail_cnt",
    "fetch sc2_http_fail_rate",
    "fetch sc2_http_req_cnt",
    "fetch sc2_http_req_rate",
    "fetch sc2_kbytes_in",
    "fetch sc2_kbytes_out",
    "fetch sc2_sess_cnt",
    "fetch sc2_sess_rate",
    "fetch sc2_inc_gpc0",
    "fetch sc2_inc_gpc1",
    "fetch sc2_clr_gpc0",
    "fetch sc2_clr_gpc1",
    "fetch sc2_tracked",
    "fetch sc2_trackers",
];
const SC2: &str = concat!(
    "tcp-request connection track-sc2 src\n",
    full!(),
    says!("sc2_bytes_in_rate" "sc2_bytes_out_rate" "sc2_conn_cnt" "sc2_conn_cur" "sc2_conn_rate" "sc2_get_gpc0" "sc2_get_gpc1" "sc2_get_gpt0" "sc2_gpc0_rate" "sc2_gpc1_rate" "sc2_http_err_cnt" "sc2_http_err_rate" "sc2_http_fail_cnt" "sc2_http_fail_rate" "sc2_http_req_cnt" "sc2_http_req_rate" "sc2_kbytes_in" "sc2_kbytes_out" "sc2_sess_cnt" "sc2_sess_rate" "sc2_inc_gpc0" "sc2_inc_gpc0" "sc2_inc_gpc1" "sc2_gpc0_rate" "sc2_gpc1_rate" "sc2_clr_gpc0" "sc2_clr_gpc1" "sc2_get_gpc0" "sc2_tracked" "sc2_trackers")
);
const SRC_NAMES: &[&str] = &[
    "fetch src_bytes_in_rate",
    "fetch src_bytes_out_rate",
    "fetch src_conn_cnt",
    "fetch src_conn_cur",
    "fetch src_conn_rate",
    "fetch src_get_gpc0",
    "fetch src_get_gpc1",
    "fetch src_get_gpt0",
    "fetch src_gpc0_rate",
    "fetch src_gpc1_rate",
    "fetch src_http_err_cnt",
    "fetch src_http_err_rate",
    "fetch src_http_fail_cnt",
    "fetch src_http_fail_rate",
    "fetch src_http_req_cnt",
    "fetch src_http_req_rate",
    "fetch src_kbytes_in",
    "fetch src_kbytes_out",
    "fetch src_sess_cnt",
    "fetch src_sess_rate",
    "fetch src_inc_gpc0",
    "fetch src_inc_gpc1",
    "fetch src_clr_gpc0",
    "fetch src_clr_gpc1",
];
const SRC: &str = concat!(
    "tcp-request connection track-sc0 src\n",
    full!(),
    says!("src_bytes_in_rate" "src_bytes_out_rate" "src_conn_cnt" "src_conn_cur" "src_conn_rate" "src_get_gpc0" "src_get_gpc1" "src_get_gpt0" "src_gpc0_rate" "src_gpc1_rate" "src_http_err_cnt" "src_http_err_rate" "src_http_fail_cnt" "src_http_fail_rate" "src_http_req_cnt" "src_http_req_rate" "src_kbytes_in" "src_kbytes_out" "src_sess_cnt" "src_sess_rate" "src_inc_gpc0" "src_inc_gpc0" "src_inc_gpc1" "src_gpc0_rate" "src_gpc1_rate" "src_clr_gpc0" "src_clr_gpc1" "src_get_gpc0")
);
const CONVERTER_NAMES: &[&str] = &[
    "converter in_table",
    "converter table_expire",
    "converter table_idle",
    "converter table_bytes_in_rate",
    "converter table_bytes_out_rate",
    "converter table_conn_cnt",
    "converter table_conn_cur",
    "converter table_conn_rate",
    "converter table_gpc0",
    "converter table_gpc0_rate",
    "converter table_gpc1",
    "converter table_gpc1_rate",
    "converter table_gpt0",
    "converter table_http_err_cnt",
    "converter table_http_err_rate",
    "converter table_http_fail_cnt",
    "converter table_http_fail_rate",
    "converter table_http_req_cnt",
    "converter table_http_req_rate",
    "converter table_kbytes_in",
    "converter table_kbytes_out",
    "converter table_server_id",
    "converter table_sess_cnt",
    "converter table_sess_rate",
];
const CONVERTERS: &str = concat!(
    "tcp-request connection track-sc0 src\n",
    full!(),
    says!("src,in_table(@CASE@)" "src,table_idle(@CASE@,-1),div(1000000)" "src,table_expire(@CASE@,-1),add(1800000),div(3600000)" "src,table_bytes_in_rate(@CASE@)" "src,table_bytes_out_rate(@CASE@)" "src,table_conn_cnt(@CASE@)" "src,table_conn_cur(@CASE@)" "src,table_conn_rate(@CASE@)" "src,table_gpc0(@CASE@)" "src,table_gpc0_rate(@CASE@)" "src,table_gpc1(@CASE@)" "src,table_gpc1_rate(@CASE@)" "src,table_gpt0(@CASE@)" "src,table_http_err_cnt(@CASE@)" "src,table_http_err_rate(@CASE@)" "src,table_http_fail_cnt(@CASE@)" "src,table_http_fail_rate(@CASE@)" "src,table_http_req_cnt(@CASE@)" "src,table_http_req_rate(@CASE@)" "src,table_kbytes_in(@CASE@)" "src,table_kbytes_out(@CASE@)" "src,table_server_id(@CASE@)" "src,table_sess_cnt(@CASE@)" "src,table_sess_rate(@CASE@)")
);
const CONVERTERS_NONE: &str = concat!(
    "tcp-request connection track-sc0 src\n",
    full!(),
    says!("str(192.0.2.9),in_table(@CASE@)" "str(192.0.2.9),table_idle(@CASE@,-1),div(1000000)" "str(192.0.2.9),table_expire(@CASE@,-1),add(1800000),div(3600000)" "str(192.0.2.9),table_bytes_in_rate(@CASE@)" "str(192.0.2.9),table_bytes_out_rate(@CASE@)" "str(192.0.2.9),table_conn_cnt(@CASE@)" "str(192.0.2.9),table_conn_cur(@CASE@)" "str(192.0.2.9),table_conn_rate(@CASE@)" "str(192.0.2.9),table_gpc0(@CASE@)" "str(192.0.2.9),table_gpc0_rate(@CASE@)" "str(192.0.2.9),table_gpc1(@CASE@)" "str(192.0.2.9),table_gpc1_rate(@CASE@)" "str(192.0.2.9),table_gpt0(@CASE@)" "str(192.0.2.9),table_http_err_cnt(@CASE@)" "str(192.0.2.9),table_http_err_rate(@CASE@)" "str(192.0.2.9),table_http_fail_cnt(@CASE@)" "str(192.0.2.9),table_http_fail_rate(@CASE@)" "str(192.0.2.9),table_http_req_cnt(@CASE@)" "str(192.0.2.9),table_http_req_rate(@CASE@)" "str(192.0.2.9),table_kbytes_in(@CASE@)" "str(192.0.2.9),table_kbytes_out(@CASE@)" "str(192.0.2.9),table_server_id(@CASE@)" "str(192.0.2.9),table_sess_cnt(@CASE@)" "str(192.0.2.9),table_sess_rate(@CASE@)" "str(192.0.2.9),table_trackers(@CASE@)")
);

static CASES: &[Case] = &[
    case("every sc_ fetch").covers(SC_NAMES).lines(SC).send(&[GET, SHOW, GET, SHOW]).normal(ENTRIES),
    case("every sc0_ fetch").covers(SC0_NAMES).lines(SC0).send(&[GET, SHOW, GET, SHOW]).normal(ENTRIES),
    case("every sc1_ fetch").covers(SC1_NAMES).lines(SC1).send(&[GET, SHOW, GET, SHOW]).normal(ENTRIES),
    case("every sc2_ fetch").covers(SC2_NAMES).lines(SC2).send(&[GET, SHOW, GET, SHOW]).normal(ENTRIES),
    case("every src_ fetch").covers(SRC_NAMES).lines(SRC).send(&[GET, SHOW, GET, SHOW]).normal(ENTRIES),
    case("every table_ converter").covers(CONVERTER_NAMES).lines(CONVERTERS).send(&[GET, SHOW, GET, SHOW]).normal(ENTRIES),
    case("table_ converters without an entry").lines(CONVERTERS_NONE).send(&[GET, SHOW]).normal(ENTRIES),
    case("counters that track nothing")
        .lines(concat!(full!(), says!("sc_tracked(0)" "sc_trackers(0)" "sc_conn_cnt(0)" "sc_inc_gpc0(0)" "sc_clr_gpc0(0)" "sc0_get_gpt0" "src_get_gpc0" "src_inc_gpc0" "src_get_gpc0" "src_clr_gpc0"  "src_conn_cnt" "table_cnt" "table_avl")))
        .send(&[GET, SHOW, GET, SHOW]).normal(ENTRIES),
    case("how many track an entry, by a converter")
        .covers(&["converter table_trackers"])
        .lines("stick-table type ip size 100 expire 1h store gpc0\nhttp-request track-sc0 src\nhttp-request return status 200 content-type text/plain lf-string \"%[src,table_trackers(@CASE@)] %[src,ipmask(8),table_trackers(@CASE@)]\"\n")
        .send(&[GET])
        .differs("table-trackers"),
    case("the key of a counter in another table")
        .lines("stick-table type ip size 100 expire 1h store gpc0\nhttp-request track-sc0 src\nhttp-request return status 200 content-type text/plain lf-string \"%[sc_tracked(0,@CASE@-b)] %[sc_tracked(0)] %[sc_tracked(1)]\"\n")
        .sections("backend @CASE@-b\nstick-table type ip size 100 expire 1h store gpc0\n")
        .send(&[GET])
        .differs("sc-tracked-table"),
    case("an address is counted")
        .covers(&["fetch src_updt_conn_cnt", "fetch table_cnt", "fetch table_avl"])
        .lines(concat!("stick-table type ip size 100 expire 1h store conn_cnt,conn_rate(1h)\n", says!("table_cnt" "src_updt_conn_cnt" "src_updt_conn_cnt(@CASE@)" "table_cnt(@CASE@)" "table_avl")))
        .send(&[GET, SHOW, GET, SHOW]).normal(ENTRIES),
    case("arrays")
        .covers(&["fetch sc_get_gpc", "fetch sc_get_gpt", "fetch sc_inc_gpc", "fetch sc_clr_gpc", "fetch sc_gpc_rate", "fetch src_get_gpc", "fetch src_get_gpt", "fetch src_inc_gpc", "fetch src_clr_gpc", "fetch src_gpc_rate", "converter table_gpc", "converter table_gpt", "converter table_gpc_rate"])
        .lines(concat!("stick-table type ip size 100 expire 1h store gpc(3),gpt(3),gpc_rate(3,1h)\nhttp-request track-sc0 src\nhttp-request sc-set-gpt(2,0) 77\n",
            says!("sc_inc_gpc(1,0)" "sc_inc_gpc(1,0,@CASE@)" "src_inc_gpc(2,@CASE@)" "src_inc_gpc(2,@CASE@)" "sc_inc_gpc(3,0)" "sc_get_gpc(1,0)" "sc_get_gpc(3,0)" "sc_get_gpt(2,0)" "sc_gpc_rate(1,0)" "src_get_gpc(1,@CASE@)" "src_get_gpt(2,@CASE@)" "src_gpc_rate(1,@CASE@)" "src,table_gpc(1,@CASE@)" "src,table_gpt(2,@CASE@)" "src,table_gpc_rate(1,@CASE@)" "src,table_gpc(3,@CASE@)" "sc_clr_gpc(1,0)" "src_clr_gpc(2,@CASE@)" "src_clr_gpc(2,@CASE@)" "sc_get_gpc0(0)" "sc_inc_gpc0(0)" "sc_get_gpc1(0)" "sc_get_gpt0(0)" "src,table_gpc0(@CASE@)" "sc_gpc0_rate(0)")))
        .send(&[GET, SHOW, GET, SHOW]).normal(ENTRIES),
    case("actions on counters")
        .covers(&["http-request action sc-inc-gpc0", "http-request action sc-inc-gpc1", "http-request action sc-set-gpt0", "http-response action sc-inc-gpc0"])
        .lines("stick-table type string size 100 expire 1h store gpc0,gpc0_rate(1h),gpc1,gpt0\nhttp-request track-sc0 hdr(x-key)\nhttp-request sc-inc-gpc0(0)\nhttp-request sc-inc-gpc1(0) if { path /b }\nhttp-request sc-set-gpt0(0) 42 unless { sc_get_gpt0(0) gt 0 }\nhttp-request sc-set-gpt0(0) int(7),add(3) if { path /b }\nhttp-request sc-inc-gpc0(1)\nhttp-response sc-inc-gpc0(0)\ndefault_backend @CASE@-app\n")
        .sections("backend @CASE@-app\nserver s1 @SERVER@\nhttp-request sc-inc-gpc0(0)\nhttp-response sc-inc-gpc1(0)\n")
        .send(&[GET, SHOW, OTHER, SHOW, GET, SHOW]).normal(ENTRIES),
    case("actions on arrays")
        .covers(&["http-request action sc-inc-gpc", "http-request action sc-set-gpt", "http-request action sc-add-gpc", "tcp-request content action sc-inc-gpc", "tcp-request content action sc-set-gpt"])
        .lines("stick-table type ip size 100 expire 1h store gpc(3),gpt(3),gpc_rate(3,1h)\ntcp-request content track-sc1 src\ntcp-request content sc-inc-gpc(0,1)\ntcp-request content sc-set-gpt(1,1) 5\nhttp-request sc-inc-gpc(1,1)\nhttp-request sc-set-gpt(2,1) int(9)\nhttp-request sc-inc-gpc(5,1)\nhttp-request sc-set-gpt(5,1) 3\nhttp-request return status 204\n")
        .send(&[GET, SHOW, GET, SHOW]).normal(ENTRIES),
    case("rules of connections and sessions")
        .covers(&["tcp-request connection action track-sc0", "tcp-request session action track-sc1", "tcp-request content action track-sc2", "http-request action track-sc2", "tcp-request connection action sc-inc-gpc0", "tcp-request session action sc-inc-gpc1", "tcp-request connection action sc-set-gpt0", "tcp-request session action sc-set-gpt0", "tcp-request content action sc-set-gpt0"])
        .lines("stick-table type ip size 100 expire 1h store gpc0,gpc1,gpt0,conn_cnt,sess_cnt,http_req_cnt,conn_cur\ntcp-request connection track-sc0 src\ntcp-request connection sc-inc-gpc0(0)\ntcp-request connection sc-set-gpt0(0) 3\ntcp-request session track-sc1 src,ipmask(24) table @CASE@-b\ntcp-request session sc-inc-gpc1(1)\ntcp-request session sc-set-gpt0(1) 4\ntcp-request content track-sc2 dst table @CASE@-b\ntcp-request content sc-set-gpt0(2) 6\nhttp-request track-sc2 src\nhttp-request return status 200 content-type text/plain lf-string \"%[sc0_conn_cur] %[sc1_conn_cur] %[sc2_conn_cur] %[sc2_get_gpt0(@CASE@)]\"\n")
        .sections("backend @CASE@-b\nstick-table type ip size 100 expire 1h store gpc0,gpc1,gpt0,conn_cnt,sess_cnt,http_req_cnt\n")
        .send(&[GET, SHOW, GET, SHOW, b"@SOCKET@ show table @CASE@-b"]).normal(ENTRIES),
    case("tracking of answers")
        .covers(&["http-response action track-sc0", "http-response action track-sc1"])
        .lines("stick-table type integer size 100 expire 1h store http_req_cnt,http_err_cnt,http_fail_cnt,bytes_in_cnt,conn_cnt,gpc0\nhttp-response track-sc0 status\nhttp-response sc-inc-gpc0(0)\nhttp-response track-sc1 res.hdr(content-length) table @CASE@-b\ndefault_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nstick-table type string len 4 size 100 expire 1h store http_req_cnt,conn_cnt\nserver s1 @SERVER@\n")
        .server_says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx")
        .send(&[GET, SHOW, GET, SHOW, b"@SOCKET@ show table @CASE@-b"]).normal(ENTRIES),
    case("errors of clients are counted")
        .lines("stick-table type ip size 100 expire 1h store http_req_cnt,http_err_cnt,http_fail_cnt,sess_cnt,conn_cnt\ntcp-request connection track-sc0 src\nhttp-request deny if { path /b }\nhttp-request return status 404 if { path /c }\ndefault_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nserver s1 @SERVER@\n")
        .server_says(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 1\r\n\r\nx")
        .send(&[GET, SHOW, OTHER, SHOW, BROKEN, SHOW, b"GET /c HTTP/1.1\r\nConnection: close\r\n\r\n", SHOW]).normal(&[Normal::Entries, Normal::HeaderOrder]),
    case("failures of servers are counted")
        .lines("stick-table type ip size 100 expire 1h store http_req_cnt,http_err_cnt,http_fail_cnt\ntcp-request connection track-sc0 src\nuse_backend @CASE@-none if { path /b }\ndefault_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nserver s1 @SERVER@\nbackend @CASE@-none\nserver s1 127.0.0.1:1\n")
        .server_says(b"HTTP/1.1 500 Broken\r\nContent-Length: 1\r\n\r\nx")
        .send(&[GET, SHOW, OTHER, SHOW]).normal(ENTRIES),
    case("requests of one connection")
        .lines("stick-table type ip size 100 expire 1h store http_req_cnt,conn_cnt,sess_cnt,bytes_in_cnt,bytes_out_cnt\ntcp-request connection track-sc0 src\ntcp-request content track-sc1 src table @CASE@-b\nhttp-request track-sc2 src table @CASE@-c\nhttp-request return status 200 content-type text/plain string abc\n")
        .sections("backend @CASE@-b\nstick-table type ip size 100 expire 1h store http_req_cnt,conn_cnt,sess_cnt,bytes_in_cnt,bytes_out_cnt\nbackend @CASE@-c\nstick-table type ip size 100 expire 1h store http_req_cnt,conn_cnt,sess_cnt,bytes_in_cnt,bytes_out_cnt\n")
        .send(&[b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", SHOW, b"@SOCKET@ show table @CASE@-b", b"@SOCKET@ show table @CASE@-c"]).normal(ENTRIES),
    case("bytes of an exchange with a server")
        .lines("stick-table type ip size 100 expire 1h store bytes_in_cnt,bytes_out_cnt,bytes_in_rate(1h),bytes_out_rate(1h)\nhttp-request track-sc0 src\ndefault_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nserver s1 @SERVER@\n")
        .server_says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789")
        .send(&[b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabcde", SHOW]).normal(ENTRIES),
    case("keys of every type")
        .lines("http-request track-sc0 hdr(x-key) table @CASE@-s\nhttp-request track-sc1 int(-5) table @CASE@-i\nhttp-request track-sc2 src table @CASE@-6\nhttp-request return status 204\n")
        .sections("backend @CASE@-s\nstick-table type string len 3 size 10 store gpc0\nbackend @CASE@-i\nstick-table type integer size 10 store gpc0\nbackend @CASE@-6\nstick-table type ipv6 size 10 store gpc0\nbackend @CASE@-b\nstick-table type binary len 4 size 10 store gpc0\n")
        .send(&[GET, b"GET / HTTP/1.1\r\nX-Key: longer than that\r\nConnection: close\r\n\r\n", b"@SOCKET@ show table @CASE@-s", b"@SOCKET@ show table @CASE@-i", b"@SOCKET@ show table @CASE@-6", b"@SOCKET@ show table @CASE@-b"]).normal(ENTRIES),
    case("binary keys")
        .lines("stick-table type binary len 8 size 10 store gpc0\nhttp-request track-sc0 base32+src\nhttp-request track-sc1 bin(0102) table @CASE@\nhttp-request return status 204\n")
        .send(&[GET, SHOW]).normal(ENTRIES),
    case("show table in general")
        .lines("http-request return status 204\n")
        .send(&[b"@SOCKET@ show table none", b"@SOCKET@ show table @CASE@ key", b"@SOCKET@ clear table", b"@SOCKET@ set table", b"@SOCKET@ clear table none", b"@SOCKET@ set table none key 1 data.gpc0 1"]),
    case("changes by commands")
        .lines("stick-table type ip size 100 expire 1h store gpc0,gpc1,gpt0,conn_cnt,server_id,http_req_rate(1h),bytes_in_cnt\nhttp-request return status 204\n")
        .send(&[
            b"@SOCKET@ set table @CASE@ key 192.0.2.1 data.gpc0 5 data.gpt0 9",
            b"@SOCKET@ set table @CASE@ key 192.0.2.2 data.gpc0 7 data.server_id 3",
            b"@SOCKET@ set table @CASE@ key 192.0.2.3",
            SHOW,
            b"@SOCKET@ set table @CASE@ key 192.0.2.4 data.none 7",
            b"@SOCKET@ set table @CASE@ key 192.0.2.4 data.http_err_cnt 7",
            b"@SOCKET@ set table @CASE@ key 192.0.2.4 data.gpc0 x",
            b"@SOCKET@ set table @CASE@ key 192.0.2.4 data.gpc0",
            b"@SOCKET@ set table @CASE@ key 192.0.2.4 gpc0 7",
            b"@SOCKET@ set table @CASE@ kee x data.gpc0 7",
            b"@SOCKET@ set table @CASE@ key 192.0.2.5 data.http_req_rate 7",
            b"@SOCKET@ set table @CASE@ key 192.0.2.5 data.gpc0 4294967297",
            SHOW,
            b"@SOCKET@ show table @CASE@ key 192.0.2.1",
            b"@SOCKET@ show table @CASE@ key 192.0.2.99",
            b"@SOCKET@ show table @CASE@ data.gpc0 gt 5",
            b"@SOCKET@ show table @CASE@ data.gpc0 gt 4 data.gpt0 eq 9",
            b"@SOCKET@ show table @CASE@ data.gpc0 ne 5",
            b"@SOCKET@ show table @CASE@ data.gpc0 le 5 data.gpc0 ge 5 data.gpc0 lt 6 data.gpt0 ne 1",
            b"@SOCKET@ show table @CASE@ data.gpc0 xx 5",
            b"@SOCKET@ show table @CASE@ data.gpc0 gt",
            b"@SOCKET@ show table @CASE@ data.none gt 5",
            b"@SOCKET@ show table @CASE@ data.http_err_cnt gt 5",
            b"@SOCKET@ show table @CASE@ nothing",
            b"@SOCKET@ clear table @CASE@ key 192.0.2.1",
            b"@SOCKET@ clear table @CASE@ key 192.0.2.1",
            SHOW,
            b"@SOCKET@ clear table @CASE@ data.gpc0 eq 7",
            SHOW,
            b"@SOCKET@ clear table @CASE@",
            SHOW,
        ])
        .normal(ENTRIES),
    case("commands for strings and numbers")
        .lines("http-request return status 204\n")
        .sections("backend @CASE@-s\nstick-table type string len 8 size 10 store gpc0\nbackend @CASE@-i\nstick-table type integer size 10 store gpc0\nbackend @CASE@-6\nstick-table type ipv6 size 10 store gpc0\nbackend @CASE@-b\nstick-table type binary len 4 size 10 store gpc0\n")
        .send(&[
            b"@SOCKET@ set table @CASE@-s key abc data.gpc0 1",
            b"@SOCKET@ set table @CASE@-s key abcdefghijkl data.gpc0 2",
            b"@SOCKET@ set table @CASE@-s key a\\ b data.gpc0 3",
            b"@SOCKET@ show table @CASE@-s",
            b"@SOCKET@ show table @CASE@-s key abcdefghij",
            b"@SOCKET@ set table @CASE@-i key 12 data.gpc0 1",
            b"@SOCKET@ show table @CASE@-i",
            b"@SOCKET@ set table @CASE@-6 key 2001:db8::1 data.gpc0 1",
            b"@SOCKET@ show table @CASE@-6",
            b"@SOCKET@ set table @CASE@-b key 0102 data.gpc0 1",
            b"@SOCKET@ show table @CASE@-b",
        ])
        .normal(ENTRIES),
    case("keys that are none")
        .lines("stick-table type ip size 10 store gpc0\nhttp-request return status 204\n")
        .sections("backend @CASE@-i\nstick-table type integer size 10 store gpc0\nbackend @CASE@-6\nstick-table type ipv6 size 10 store gpc0\n")
        .send(&[b"@SOCKET@ set table @CASE@ key x data.gpc0 7", SHOW, b"@SOCKET@ set table @CASE@-i key 5x data.gpc0 7", b"@SOCKET@ set table @CASE@-6 key 192.0.2.1 data.gpc0 7"])
        .differs("table-key-text"),
    case("rules on tables")
        .lines("stick-table type ip size 100 expire 1h store gpc0,gpt0,http_req_cnt\nhttp-request track-sc0 src\nhttp-request deny deny_status 429 if { sc_http_req_cnt(0) gt 2 }\nhttp-request sc-inc-gpc0(0) if { path /b }\nhttp-request return status 200 content-type text/plain string marked if { src_get_gpc0(@CASE@) gt 0 }\nhttp-request return status 204 if { src,in_table(@CASE@) }\n")
        .send(&[GET, SHOW, OTHER, SHOW, GET, SHOW]).normal(ENTRIES),
    case("a full table")
        .lines("stick-table type string size 3 expire 1h store gpc0\nhttp-request track-sc0 url_param(key)\nhttp-request sc-inc-gpc0(0)\nhttp-request return status 204\n")
        .send(&[b"GET /?key=a HTTP/1.1\r\nConnection: close\r\n\r\n", SHOW, b"GET /?key=b HTTP/1.1\r\nConnection: close\r\n\r\n", SHOW, b"GET /?key=c HTTP/1.1\r\nConnection: close\r\n\r\n", SHOW, b"GET /?key=d HTTP/1.1\r\nConnection: close\r\n\r\n", SHOW, SHOW]).normal(ENTRIES),
    case("a full table that is not purged")
        .lines("stick-table type string size 2 nopurge expire 1h store gpc0\nhttp-request track-sc0 url_param(key)\nhttp-request sc-inc-gpc0(0)\nhttp-request return status 200 content-type text/plain lf-string %[sc_tracked(0)]\n")
        .send(&[b"GET /?key=a HTTP/1.1\r\nConnection: close\r\n\r\n", SHOW, b"GET /?key=b HTTP/1.1\r\nConnection: close\r\n\r\n", SHOW, b"GET /?key=c HTTP/1.1\r\nConnection: close\r\n\r\n", SHOW, SHOW]).normal(ENTRIES),
    case("newer actions and fetches")
        .lines("stick-table type ip size 100 expire 1h store gpc(3)\nhttp-request track-sc0 src\nhttp-request sc-add-gpc(1,0) 5\nhttp-request return status 200 content-type text/plain lf-string \"%[sc_key(0)] %[sc0_key] %[src,table_inc_gpc(1,@CASE@)] %[src,table_clr_gpc(1,@CASE@)] %[src,table_inc_gpc0(@CASE@)] %[src,table_clr_gpc0(@CASE@)] %[src,table_inc_gpc1(@CASE@)] %[src,table_clr_gpc1(@CASE@)]\"\n")
        .covers(&["fetch sc_key", "fetch sc0_key", "converter table_inc_gpc", "converter table_clr_gpc", "converter table_inc_gpc0", "converter table_clr_gpc0", "converter table_inc_gpc1", "converter table_clr_gpc1"])
        .send(&[GET])
        .newer("<client>HTTP/1.1 200 OK\r\ncontent-length: 31\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n127.0.0.1 127.0.0.1 6 6 1 1 1 1"),
    case("glitches")
        .lines("stick-table type ip size 100 expire 1h store glitch_cnt,glitch_rate(1m)\nhttp-request track-sc0 src\nhttp-request track-sc1 src\nhttp-request track-sc2 src\nhttp-request return status 200 content-type text/plain lf-string \"%[fc_glitches] %[sc0_glitch_cnt] %[sc0_glitch_rate] %[sc1_glitch_cnt] %[sc1_glitch_rate] %[sc2_glitch_cnt] %[sc2_glitch_rate] %[sc_glitch_cnt(0)] %[sc_glitch_rate(0)] %[src_glitch_cnt] %[src_glitch_rate] %[src,table_glitch_cnt(@CASE@)] %[src,table_glitch_rate(@CASE@)]\"\n")
        .covers(&["fetch sc_glitch_cnt", "fetch sc_glitch_rate", "fetch sc0_glitch_cnt", "fetch sc0_glitch_rate", "fetch sc1_glitch_cnt", "fetch sc1_glitch_rate", "fetch sc2_glitch_cnt", "fetch sc2_glitch_rate", "fetch src_glitch_cnt", "fetch src_glitch_rate", "converter table_glitch_cnt", "converter table_glitch_rate"])
        .send(&[GET])
        .newer("<client>HTTP/1.1 200 OK\r\ncontent-length: 25\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n0 0 0 0 0 0 0 0 0 0 0 0 0"),
];

#[test]
fn stick_table() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
