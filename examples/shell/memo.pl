# The server of memo: lines come in, answers go out, and what it knows is in its memory alone. It takes its listening socket from
# descriptor 3, as sd_listen_fds(3) has it. Of Perl it needs what Debian calls perl-base, which is on every machine.
use strict;
use warnings;
use IO::Handle;
use IO::Select;
use IO::Socket;

die "memo.pl: no socket: it is started by memo\n"
  unless ( $ENV{LISTEN_PID} // 0 ) == $$ && ( $ENV{LISTEN_FDS} // 0 ) == 1;
my $listener = IO::Socket->new_from_fd( 3, 'r+' ) or die "memo.pl: descriptor 3: $!\n";

$SIG{TERM} = sub { exit 0 };    # between two answers
$SIG{PIPE} = 'IGNORE';          # who asked has gone

my ( %known, %unread );

sub answer {
    my ( $key, $words ) = split ' ', shift, 2;
    if ( !defined $key ) {
        return join '', map { "$_: $known{$_}\n" } sort keys %known;
    }
    if ( defined $words && $words ne '' ) {
        $known{$key} = $words;
        return '';
    }
    return defined $known{$key} ? "$known{$key}\n" : '';
}

my $select = IO::Select->new($listener);
while (1) {
    for my $ready ( $select->can_read ) {
        if ( $ready == $listener ) {
            my $client = $listener->accept or next;
            $select->add($client);
            $unread{$client} = '';
            next;
        }
        my $more = sysread $ready, $unread{$ready}, 65536, length $unread{$ready};
        while ( $unread{$ready} =~ s/^(.*)\n// ) {
            print {$ready} answer($1);
        }
        $ready->flush;
        if ( !$more ) {    # it has asked all it wants
            $select->remove($ready);
            delete $unread{$ready};
            close $ready;
        }
    }
}
