%% SPDX-License-Identifier: GPL-3.0-or-later
%% Expressions for erl -eval: answer each request with a page, in an Erlang process for each client.
[Port] = init:get_plain_arguments(),
Page = [<<"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n">>, <<"old page">>],
{ok, Listening} = gen_tcp:listen(list_to_integer(Port), [
    binary, {ip, {127, 0, 0, 1}}, {active, false}, {reuseaddr, true}, {packet, http_bin}]),
Serve = fun Serve(Client) ->
    case gen_tcp:recv(Client, 0) of
        {ok, http_eoh} -> ok = gen_tcp:send(Client, Page), Serve(Client);
        {ok, _Line} -> Serve(Client);
        {error, closed} -> gen_tcp:close(Client)
    end
end,
Accept = fun Accept() ->
    {ok, Client} = gen_tcp:accept(Listening),
    Server = spawn(fun() -> receive begin_to_serve -> Serve(Client) end end),
    ok = gen_tcp:controlling_process(Client, Server),
    Server ! begin_to_serve,
    Accept()
end,
Accept().
