import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.BsonTimestamp;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.time.Instant;

/**
 * A document database on loopback: mongo-java-server over a file, with an oplog. Arguments: port, file.
 *
 * It answers as an older server than pymongo speaks with. So what it says of its protocol is raised to that of 4.4, and
 * the answer that opens a change stream gets the time of the operation. Each command is on disk when it is answered.
 * It knows no users, and refuses them as other servers refuse those that they do not know.
 * Ends when its standard input does.
 */
public class DocumentServer {
    public static void main(String[] arguments) throws Exception {
        H2Backend store = new H2Backend(arguments[1]);
        MongoBackend backend = (MongoBackend) Proxy.newProxyInstance(
            MongoBackend.class.getClassLoader(), new Class<?>[] {MongoBackend.class}, (self, method, values) -> {
                try {
                    Object answer = method.invoke(store, values);
                    if (answer instanceof Document && method.getName().startsWith("handle")) {
                        store.commit();
                        raise((Document) answer);
                    }
                    return answer;
                } catch (InvocationTargetException error) {
                    if (String.valueOf(error.getCause().getMessage()).contains("saslStart")) {
                        throw new MongoServerError(18, "AuthenticationFailed", "Authentication failed.");
                    }
                    throw error.getCause();
                }
            });
        MongoServer server = new MongoServer(backend);
        server.enableOplog();
        server.bind("127.0.0.1", Integer.parseInt(arguments[0]));
        System.out.println("ready");
        while (System.in.read() >= 0) {
        }
        server.shutdownNow();
    }

    private static void raise(Document answer) {
        if (answer.containsKey("maxWireVersion")) {
            answer.put("maxWireVersion", 9);
        }
        if (answer.containsKey("cursor")) {
            answer.put("operationTime", new BsonTimestamp(Instant.now(), 1));
        }
    }
}
